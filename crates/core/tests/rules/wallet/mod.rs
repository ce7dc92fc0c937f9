mod rules;
mod token;
