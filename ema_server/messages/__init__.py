"""What a study team says to its participants, as their phones fetch it."""
