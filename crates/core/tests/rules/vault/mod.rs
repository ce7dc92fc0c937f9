mod pin;
