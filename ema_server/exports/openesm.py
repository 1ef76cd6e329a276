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
from ema_server.studies.models import Study

_TYPES = {
    "text": "text", "category": "categorical", "number": "numeric", "yesno": "binary", "whole": "numeric",
    "flag": "binary", "moment": "PosixCt", "local": "PosixCt", "date": "Date",
}  # fmt: skip


def metadata(contents: Contents, tallies: Tallies) -> dict[str, Any]:
    study = contents.study
    persons = max(len(tallies.persons), 1)
    rules = _rules(study)
    prompted = [len(rule.get("times") or rule.get("windows") or ()) for rule in rules]
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
        "sampling_scheme": "; ".join(_in_words(rule) for rule in rules),
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


def _rules(study: Study) -> list[Mapping[str, Any]]:
    plan = study.sampling_plans.order_by("-number").first()
    rules = plan.document.get("rules", []) if plan else []
    return [rule for rule in rules if isinstance(rule, Mapping)]


def _in_words(rule: Mapping[str, Any]) -> str:
    """A rule of the sampling plan as a phrase: what is asked, how often, when."""
    what = f"{rule.get('questionnaire', 'questionnaire')}"
    if rule.get("times"):
        return f"{what}: {len(rule['times'])}x/day fixed schedule ({', '.join(map(str, rule['times']))})"
    if rule.get("windows"):
        return f"{what}: {len(rule['windows'])}x/day randomly in intervals"
    return what
