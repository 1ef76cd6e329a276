"""What a questionnaire may ask, what an answer may be, and what both become in the data: pure rules, no framework.

Used alike by publishing, intake, preview, export and the night. The format is in `docs/questionnaires.md`.
"""
