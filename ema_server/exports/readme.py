"""The README of a bundle: what lies in it and how its rows are to be read."""

from __future__ import annotations

from ema_server.exports.codebook import APOSTROPHE
from ema_server.exports.contents import Contents
from ema_server.exports.tabulation import Tallies

_ROWS = {
    "prompts": "One row for each prompt that was due, missed ones included: the rows that the nightly report reads. The "
    "SHA-256 of prompts.csv is the data hash of a report that was made of the same rows.",
    "answers": "One row for each item of each questionnaire that came. `counted` says whether the models read it, `why` why "
    "not. Answers to no prompt, broken-off questionnaires and repeats are here and marked. In finished questionnaires an item "
    "without an answer has a row without a value: `skipped` where it was shown, `not_asked` where it was not.",
}
_TEXT = {
    True: "Sealed answers (free text, and items that a questionnaire calls sensitive) were opened for this file. They can "
    "say who somebody is.",
    False: "Sealed answers (free text, and items that a questionnaire calls sensitive) are not in it.",
}


def readme(contents: Contents, tallies: Tallies) -> str:
    name = contents.shape
    about = contents.about
    return f"""{about["title"]} ({about["study"]})
{contents.study.source or "No source is given."}

{tallies.rows} rows of {len(tallies.persons)} people, as they were known at {about["cutoff"]}. Made by code {about["code"]}.
{_ROWS[name]}
Practice prompts and people who try the app out are marked (`practice`, `test_person`), and are in no model. People who
were erased are absent. {_TEXT[contents.with_text]}

{name}.csv        UTF-8, commas, empty where nothing is; times are UTC
{name}.parquet    typed, categories as dictionaries, labels in the fields' metadata (pandas, polars, arrow)
{name}.sav        SPSS with labels; categories are numbers with value labels, the codebook says which
read_{name}.R     reads {name}.csv into R: factors, times, labels
codebook.html       every column for people; codebook.json the same for machines
openesm.json        metadata as openESM keeps them, to be completed by the authors
SHA256SUMS          check with: sha256sum -c SHA256SUMS

{APOSTROPHE}
"""
