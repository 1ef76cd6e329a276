"""What a study's team writes to people: sealed under each person's key, read by their phone with `GET sync`."""
