"""m-Path's export, made here by the description in mpathr's code: local UNIX seconds, JSON in cells, short rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.management import CommandError

from ema_server.common import clock
from ema_server.reports import dataset
from ema_server.responses.content import merge
from ema_server.responses.models import Submission
from ema_server.sampling.models import Prompt, PromptEvent
from ema_server.studies.models import Study
from tests.server.imports.files import mapped, run, written
from tests.world import PLAN, researcher

pytestmark = pytest.mark.django_db

META = """columnName;fullQuestion;typeQuestion;typeAnswer;fullQuestion_mixed;typeQuestion_mixed;typeAnswer_mixed
calm_sliderNegPos;"<p style=""font-size: 30px;"">How <strong>calm</strong> are you?</p>";sliderNegPos;int;0;0;0
place_multipleChoice_index;Where are you?;multipleChoice;int;1;0;0
place_multipleChoice_string;Where are you?;multipleChoice;string;0;0;0
place_multipleChoice_likert;Where are you?;multipleChoice;int;0;0;0
agree_multipleChoice_index;Do you agree?;multipleChoice;int;0;0;0
agree_multipleChoice_string;Do you agree?;multipleChoice;string;0;0;0
agree_multipleChoice_likert;Do you agree?;multipleChoice;int;0;0;0
end_basic;Thank you;basic;basic;0;0;0
happened_yesno;Did anything happen?;yesno;int;0;0;0
done_multipleChoice_index;What did you do?;multipleChoice;intList;0;0;0
done_multipleChoice_string;What did you do?;multipleChoice;stringList;0;0;0
done_multipleChoice_likert;What did you do?;multipleChoice;intList;0;0;0
what_open;What happened?;open;string;0;0;0
apps_appUsage_usage;;appUsage;doubleList;0;0;0
"""
HEAD = (
    "connectionId;legacyCode;code;alias;initials;accountCode;scheduledBeepId;sentBeepId;reminderForOriginalSentBeepId;"
    "questionListName;questionListLabel;fromProtocolName;timeStampScheduled;timeStampSent;timeStampStart;timeStampStop;"
    "originalTimeStampSent;timeZoneOffset;deltaUTC;calm_sliderNegPos;place_multipleChoice_index;place_multipleChoice_string;"
    "place_multipleChoice_likert;agree_multipleChoice_index;agree_multipleChoice_string;agree_multipleChoice_likert;end_basic;"
    "happened_yesno;done_multipleChoice_index;done_multipleChoice_string;done_multipleChoice_likert;what_open;apps_appUsage_usage"
)
WHO = '700001;!aaaa@bbbb;"!aaaa bbbb";Secret Name;SN;bbbb'
T = 1_713_513_600  # 2024-04-19 08:00 on the participant's own clock
BASIC = "\n".join(
    [
        HEAD,
        # answered, then the row ends early
        f'{WHO};501;901;0;main;;p;{T};{T + 2};{T + 10};{T + 70};0;7200;0;40;1;"""Work""";;2;"""Disagree""";2;1',
        # sent and never opened: one person-hour later
        f"{WHO};502;902;0;main;;p;{T + 3600};{T + 3602};0;0;0;7200;0",
        # a reminder of it, begun and not finished
        f"{WHO};502;903;902;main;;p;{T + 3600};{T + 4200};{T + 4210};0;{T + 3602};7200;0;77",
        # the evening, with lists and an open answer
        f'{WHO};503;904;0;Evening list;;p;{T + 50_400};{T + 50_401};{T + 50_500};{T + 50_600};0;7200;-1;;;;;;;;;1;1,3;'
        '"""Worked"",""Rested""";;"""Met \\""A\\"", then\\nhome"""',
        # opened by the person, not by a beep
        f'{WHO};-1;905;0;main;;;0;{T + 90_000};{T + 90_001};{T + 90_060};0;7200;0;10;4;"""Friend\'s place""";;7;"""Agree""";7;1',
        "",
    ]
)  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [written(tmp_path, BASIC, "basic.csv"), written(tmp_path, META, "meta.csv")]


def test_times_are_the_participants_own_clock(files: list[Path]) -> None:
    researcher()
    run(*files, format="mpath", zone="Europe/Brussels")
    frame = dataset.load(Study.objects.get(), clock.now(), {**PLAN, "questionnaire": None})
    assert frame["scheduled_local"].astype(str).tolist() == [
        "2024-04-19 08:00:00", "2024-04-19 09:00:00", "2024-04-19 22:00:00", "2024-04-20 09:00:00",
    ]  # fmt: skip
    assert frame["scheduled_at"].dt.hour.tolist() == [6, 7, 20, 7]  # two hours before: +02:00
    assert set(frame["zone"]) == {"Europe/Brussels"}
    assert frame["questionnaire"].tolist() == ["main", "main", "evening-list", "main"]
    assert frame["status"].tolist() == ["answered", "expired_with_answers", "answered", "answered"]
    assert frame["reissues"].tolist() == [0, 1, 0, 0]
    assert frame["day"].tolist() == [1, 1, 1, 2]


def test_answers_are_what_their_questions_are(files: list[Path]) -> None:
    researcher()
    said = run(*files, format="mpath", zone="Europe/Brussels")
    study = Study.objects.get()
    surveys = {version.questionnaire: version.survey for version in study.survey_versions.all()}
    assert {item.name: item.type for item in surveys["main"].items} == {
        "calm": "slider",
        "place": "choice",
        "agree": "likert",
    }
    assert {item.name: item.type for item in surveys["evening-list"].items} == {
        "happened": "yesno", "done": "choices", "what": "text",
    }  # fmt: skip
    assert surveys["main"].by_name["calm"].text == "How calm are you?"
    assert [(o.value, o.label) for o in surveys["main"].by_name["place"].options] == [
        (1, "Work"),
        (4, "Friend's place"),
    ]
    assert surveys["main"].by_name["agree"].labels == {"2": "Disagree", "7": "Agree"}
    assert [(o.value, o.label) for o in surveys["evening-list"].by_name["done"].options] == [
        (1, "Worked"),
        (3, "Rested"),
    ]
    answers = [merge(each.payload, each.sealed)["answers"] for each in Submission.objects.order_by("pk")]
    assert answers == [
        {"calm": 40, "place": 1, "agree": 2},
        {"calm": 77},
        {"happened": True, "done": [1, 3], "what": 'Met "A", then\nhome'},
        {"calm": 10, "place": 4, "agree": 7},
    ]
    assert "Not carried over, since no item type holds them: apps_appUsage_usage." in said
    assert "changed during the study, by the meta data: place." in said


def test_nothing_that_says_who_somebody_is_comes_in(files: list[Path]) -> None:
    researcher()
    said = run(*files, format="mpath", zone="Europe/Brussels")
    study = Study.objects.get()
    stored = str(
        [*study.submissions.values(), *Prompt.objects.values(), *PromptEvent.objects.values(), *study.imports.values()]
    )
    for secret in ("Secret", "aaaa", "bbbb"):
        assert secret not in stored + said
    assert [person.pseudonym for person in study.participants.all()] == ["700001"]


def test_another_zone_keeps_the_wall_clock(files: list[Path]) -> None:
    run(*files, format="mpath", zone="America/New_York", dry_run=True)
    researcher()
    run(*files, format="mpath", zone="America/New_York")
    assert set(Prompt.objects.values_list("zone", "utc_offset_minutes")) == {("Etc/GMT-2", 120)}


def test_the_meta_data_are_needed_and_a_spreadsheets_copy_is_refused(tmp_path: Path, files: list[Path]) -> None:
    researcher()
    with pytest.raises(CommandError, match="m-Path's export is two files"):
        run(files[0], format="mpath")
    saved = written(
        tmp_path, "\n".join(f'"{line.replace(chr(34), chr(34) * 2)}"' for line in BASIC.splitlines()), "saved.csv"
    )
    with pytest.raises(CommandError, match=r"saved.csv was saved by a spreadsheet"):
        run(saved, files[1], format="mpath")
    with pytest.raises(CommandError, match=r"has no column 'connectionId': it is not m-Path's basic.csv"):
        run(written(tmp_path, BASIC.replace("connectionId", "id"), "other.csv"), files[1], format="mpath")


def test_a_map_may_say_otherwise(tmp_path: Path, files: list[Path]) -> None:
    researcher()
    words = {"questionnaire": {"column": "questionListName", "words": {"Evening list": "evening", "main": "momentary"}}}
    run(*files, format="mpath", zone="Europe/Brussels", map=mapped(tmp_path, words), open_minutes=30)
    assert set(Prompt.objects.values_list("questionnaire", flat=True)) == {"momentary", "evening"}
    assert {(each.expires_at - each.scheduled_at).seconds for each in Prompt.objects.all()} == {1800}
