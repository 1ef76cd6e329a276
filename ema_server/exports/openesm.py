"""Metadata as openESM keeps them for each of its data sets (openesmdata.org): what is known here is filled in.

The fields are those of its files `NNNN_author_metadata.json`; what only the authors know is left empty for them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ema_server.exports.contents import Contents
from ema_server.exports.tabulation import Tallies
from ema_server.reports.variables import Variable
from ema_server.sampling.words import in_words
from ema_server.studies.queries import current_sampling_plan
from ema_server.studies.sampling_when import WHEN

_TYPES = {
    "text": "text", "category": "categorical", "number": "numeric", "yesno": "binary", "whole": "numeric",
    "flag": "binary", "moment": "PosixCt", "local": "PosixCt", "date": "Date",
}  # fmt: skip


def metadata(contents: Contents, tallies: Tallies) -> dict[str, Any]:
    study = contents.study
    persons = max(len(tallies.persons), 1)
    plan = current_sampling_plan(study)
    document: Mapping[str, Any] = plan.document if plan else {}
    rules = [rule for rule in document.get("rules", ()) if isinstance(rule, Mapping)]
    prompted = [
        len(rule.get("times") or rule.get("windows") or ()) or rule.get("random", {}).get("count", 0) for rule in rules
    ]
    covariates = [each for each in contents.variables if each.origin == "person"]
    return {
        "first_author": "",
        "dataset_id": study.slug,
        "year": study.ends_on.year,
        "reference_a": "",
        "reference_b": "",
        "paper_doi": "",
        "zenodo_doi": "",
        "dataset_version": "1.0.0",
        "changelog": [],
        "link_to_data": "",
        "license": "",
        "link_to_codebook": "",
        "link_to_code": "",
        "n_participants": len(tallies.persons),
        "n_time_points": round(tallies.rows / persons) if contents.shape == "prompts" else None,
        "n_days": str((study.ends_on - study.starts_on).days + 1),
        "n_beeps_per_day": str(sum(prompted)) if any(prompted) else "",
        "passive_data_available": "no",
        "cross_sectional_available": "yes" if covariates else "no",
        "topics": "",
        "implicit_missingness": "no" if contents.shape == "prompts" else "yes",
        "raw_time_stamp": "yes",
        "sampling_scheme": "; ".join(_in_words(rule, document) for rule in rules),
        "participants": "",
        "coding_file": "codebook.json",
        "additional_comments": study.source,
        "coder_data": "",
        "coder_metadata": "",
        "features": [_feature(each) for each in contents.variables],
    }


def as_json(found: Mapping[str, Any]) -> str:
    return json.dumps(found, ensure_ascii=False, indent=2) + "\n"


def _feature(variable: Variable) -> dict[str, str]:
    kind = "rating_scale" if variable.asked_as in {"likert", "slider"} else _TYPES[variable.kind]
    categories = len(variable.levels)
    if variable.asked_as == "likert" and isinstance(variable.low, float) and isinstance(variable.high, float):
        categories = int(variable.high - variable.low) + 1
    return {
        "name": variable.name,
        "description": variable.label,
        "variable_type": kind,
        "answer_categories": str(categories) if categories else "",
        "details": "\n".join(f"{language}: {text}" for language, text in variable.texts.items() if language),
        "labels": "\n".join(f"{value}. {label}" for value, label in variable.levels),
        "transformation": "score of a scale" if variable.origin == "scale" else "",
        "source": "; ".join(variable.source.values()),
        "assessment_type": "cross-sectional" if variable.origin == "person" else "ESM",
        "construct": "",
        "comments": variable.note,
    }


def _in_words(rule: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """What is asked and when; of a study that was imported nobody knows when."""
    what = str(rule.get("questionnaire", "questionnaire"))
    return f"{what}: {in_words(rule, document).rstrip('.')}" if rule.keys() & set(WHEN) else what
