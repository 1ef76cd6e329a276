"""What participants may do about their own data: pause, go on, leave, take it with them."""
