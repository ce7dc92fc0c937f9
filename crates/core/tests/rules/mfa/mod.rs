mod guessing;
