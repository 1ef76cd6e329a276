"""Drafts: every revision kept, nobody overwritten, and published only when sound and when nobody relies on the old."""

from __future__ import annotations

import copy
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connections
from django.test import Client
from django_scopes import scope, scopes_disabled

from ema_server.accounts.models import User
from ema_server.ledger.models import AuditEvent
from ema_server.reports.services import lock_plan, publish_plan
from ema_server.studies import drafts
from ema_server.studies.models import Membership, Study, SurveyDraft, SurveyVersion
from ema_server.studies.services import add_member
from ema_server.surveys import examples, files
from ema_server.surveys.exchange import Carried, Lost
from ema_server.surveys.typed import read_typed, written
from tests.server.surveys.exchange.forms import workbook
from tests.world import NOW, PLAN, SURVEY, live_study, researcher

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner() -> User:
    return researcher()


@pytest.fixture
def study(owner: User) -> Study:
    return live_study(owner)


@pytest.fixture
def client(owner: User) -> Client:
    client = Client()
    client.force_login(owner)
    return client


def save(study: Study, text: str, based_on: int | None, editor: User | None = None) -> SurveyDraft:
    return drafts.save_draft(
        study=study, questionnaire="momentary", text=text, based_on=based_on, editor=editor, actor="server", now=NOW
    )


def changed(**more: Any) -> dict[str, Any]:
    """The study's questionnaire with its first item changed."""
    document = copy.deepcopy(SURVEY)
    document["items"][0].update(more)  # type: ignore[index]
    return document


def page(study: Study, path: str = "momentary/") -> str:
    return f"/studies/{study.slug}/questionnaires/{path}"


def test_a_draft_is_kept_whatever_is_wrong_with_it(study: Study) -> None:
    for text in ('{"title": ', "", "{}", "no JSON at all", '{"a": "\x00"}', "\ud800"):
        newest = drafts.newest_draft(study, "momentary")
        kept = save(study, text, newest.number if newest else None)
        kept.refresh_from_db()
        assert kept.text.startswith(text[:6].rstrip("\x00\ud800"))
    assert [each.number for each in study.survey_drafts.order_by("number")] == [1, 2, 3, 4, 5, 6]


def test_saving_twice_is_saving_once_and_leaves_one_event(study: Study, owner: User) -> None:
    first = save(study, "one", None, owner)
    again = save(study, "one", None, owner)  # a button that was pressed twice
    assert first.pk == again.pk
    event = AuditEvent.objects.get(action="draft.saved")
    assert event.about == "draft:momentary:1"
    assert event.changes == {"digest": first.digest}


def test_of_two_editors_neither_overwrites_the_other(study: Study, owner: User) -> None:
    colleague = researcher("colleague@example.org")
    start = save(study, "start", None, owner)
    theirs = save(study, "theirs", start.number, colleague)
    with pytest.raises(drafts.DraftMoved) as moved:
        save(study, "mine", start.number, owner)
    assert moved.value.status == 409
    assert moved.value.newest.pk == theirs.pk
    assert moved.value.mine is not None
    assert (moved.value.mine.text, moved.value.mine.aside, moved.value.mine.based_on) == ("mine", True, 1)
    assert "colleague@example.org saved revision 2" in moved.value.detail
    assert "kept beside it as revision 3" in moved.value.detail
    newest = drafts.newest_draft(study, "momentary")
    assert newest == theirs
    with pytest.raises(drafts.DraftMoved):
        save(study, "mine", start.number, owner)  # sent again
    assert study.survey_drafts.count() == 3
    assert save(study, "both", theirs.number, owner).number == 4


@pytest.mark.django_db(transaction=True)
def test_of_many_who_save_at_once_one_is_on_the_main_line_and_none_is_lost() -> None:
    study = live_study()
    save(study, "start", None)

    def write(number: int) -> str:
        try:
            with scopes_disabled():
                save(study, f"text {number}", 1)
        except drafts.DraftMoved:
            return "moved"
        finally:
            connections.close_all()
        return "saved"

    with ThreadPoolExecutor(8) as pool:
        told = sorted(pool.map(write, range(8)))
    assert told == ["moved"] * 7 + ["saved"]
    kept = study.survey_drafts.exclude(number=1)
    assert {each.text for each in kept} == {f"text {number}" for number in range(8)}
    assert [each.number for each in kept.filter(aside=False)] == [2]


def test_too_large_is_told_and_nothing_is_stored(study: Study) -> None:
    with pytest.raises(drafts.DraftTooLarge, match="1,000,001 bytes; a questionnaire has at most 1,000,000"):
        save(study, "x" * 1_000_001, None)
    assert not study.survey_drafts.exists()


def test_going_back_makes_a_new_revision(study: Study, owner: User) -> None:
    first = save(study, "first", None)
    second = save(study, "second", 1)
    undone = drafts.go_back(draft=first, based_on=second.number, editor=owner, actor=owner.audit_name, now=NOW)
    assert (undone.number, undone.text, undone.source) == (3, "first", "revision 1 again")


def test_what_both_changed_apart_fits_together_and_clashes_are_shown() -> None:
    base = "a\nb\nc\nd\ne\n"
    apart = drafts.merged(base, "A\nb\nc\nd\ne\n", "a\nb\nc\nd\nE\nf\n")
    assert apart == drafts.Merged("A\nb\nc\nd\nE\nf\n", 0)
    clash = drafts.merged(base, "a\nb\nmine\nd\ne\n", "a\nb\ntheirs\nd\ne\n")
    assert clash.text == "a\nb\n<<<<<<< mine\nmine\n=======\ntheirs\n>>>>>>> theirs\nd\ne\n"
    assert clash.clashes == 1
    assert drafts.merged(base, base, "b\ne\n").text == "b\ne\n"
    assert drafts.merged(base, "", base).text == "\n"


def test_lines_stand_beside_what_they_became() -> None:
    rows = drafts.side_by_side("a\nb\nc", "a\nB\nc\nd")
    assert [(row.left, row.right, row.same) for row in rows] == [
        ("a", "a", True), ("b", "B", False), ("c", "c", True), (None, "d", False),
    ]  # fmt: skip


def publish(study: Study, number: int) -> SurveyVersion:
    return drafts.publish_draft(study=study, questionnaire="momentary", number=number, actor="server")


def test_a_sound_draft_becomes_the_next_version(study: Study) -> None:
    draft = save(study, written(changed(text="How supported?")), None)
    assert drafts.review(draft).changes == ["Item support: the text is reworded: “Support?” → “How supported?”"]
    version = publish(study, draft.number)
    assert version.number == 2
    assert drafts.review(draft).published
    assert publish(study, draft.number) == version  # pressed twice


def test_a_faulty_draft_is_refused_with_line_and_place(study: Study) -> None:
    draft = save(study, '{"title": "t",\n "items": [{"name": "a", "type": "likert", "text": "A?"}]}', None)
    with pytest.raises(drafts.DraftFaulty, match=r"line 2: items\[0\] \(a\)\.range"):
        publish(study, draft.number)
    with pytest.raises(drafts.NoDraft):
        drafts.publish_draft(study=study, questionnaire="other", number=1, actor="server")
    assert study.survey_versions.count() == 1


def test_publishing_is_refused_when_somebody_saved_a_newer_draft(study: Study) -> None:
    looked_at = save(study, written(changed(text="One?")), None)
    save(study, written(changed(text="Two?")), looked_at.number)
    with pytest.raises(drafts.DraftMoved, match="saved revision 2"):
        publish(study, looked_at.number)
    assert study.survey_versions.count() == 1


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"range": [0, 10]}, "the range would be 0 to 10 instead of 0 to 100"),
        ({"name": "backing"}, "the item 'support' would be gone"),
        ({"type": "likert"}, "the type would be likert instead of slider"),
        ({"sensitive": True}, "whether it is sealed would be yes instead of no"),
    ],
)
def test_what_a_locked_plan_uses_keeps_its_meaning(study: Study, more: dict[str, Any], told: str) -> None:
    draft = save(study, written(changed(**more)), None)
    assert not drafts.review(draft).faults  # nothing is locked yet
    lock_plan(plan=study.analysis_plans.get(), now=NOW)
    (fault,) = drafts.review(draft).faults
    assert "analysis plan v1 is locked and uses 'support'" in fault.message
    assert told in fault.message
    with pytest.raises(drafts.DraftFaulty, match="analysis plan v1"):
        publish(study, draft.number)


def test_rewording_and_new_items_stay_possible_under_a_locked_plan(study: Study) -> None:
    lock_plan(plan=study.analysis_plans.get(), now=NOW)
    document = changed(text="How supported?", hint="Just now.")
    document["items"].append({"name": "tired", "type": "yesno", "text": "Tired?"})
    document["items"][2]["type"] = "text"  # `alone` is in no plan
    assert publish(study, save(study, written(document), None).number).number == 2


def test_a_scale_that_a_locked_plan_uses_keeps_its_items_and_score(owner: User) -> None:
    items = [{"name": name, "type": "slider", "range": [0, 100], "text": name} for name in ("calm", "tense", "sad")]
    scale = {"key": "mood", "items": ["calm", "tense", "sad"], "reversed": ["tense", "sad"]}
    plan = copy.deepcopy(PLAN)
    plan["models"][0]["formula"] = "mood ~ day + (1 | person)"
    plan["models"][0]["outcome"]["name"] = "mood"
    study = live_study(owner, survey={"title": "t", "items": items, "scales": [scale]}, plan=plan)
    lock_plan(plan=study.analysis_plans.get(), now=NOW)
    for number, (new_items, new_scale, told) in enumerate(
        [
            (items, {**scale, "score": "sum"}, "the score would be sum instead of mean"),
            (items, {**scale, "reversed": ["tense"]}, "what is reversed would be tense instead of sad, tense"),
            (items, {**scale, "items": ["calm", "tense"], "reversed": ["tense"]}, "the items would be calm, tense"),
            ([{**each, "range": [0, 10]} for each in items], scale, "the item 'calm': the range would be 0 to 10"),
            (items, None, "the scale 'mood' would be gone"),
        ]
    ):
        document = {"title": "t", "items": new_items, "scales": [new_scale] if new_scale else []}
        draft = save(study, written(document), number or None)
        told_here = " ".join(fault.message for fault in drafts.review(draft).faults)
        assert told in told_here, told_here
        assert "'mood'" in told_here


def test_locking_is_done_once_and_audited(study: Study) -> None:
    plan = study.analysis_plans.get()
    assert lock_plan(plan=plan, now=NOW).locked_at == NOW
    lock_plan(plan=plan, now=NOW.replace(year=2030))
    plan.refresh_from_db()
    assert plan.locked_at == NOW
    assert AuditEvent.objects.filter(action="analysis_plan.locked", about="analysis_plan:1").count() == 1


def test_a_plan_for_another_questionnaire_holds_nothing_here(study: Study) -> None:
    other = publish_plan(study=study, document={**PLAN, "questionnaire": "evening"})
    lock_plan(plan=other, now=NOW)
    assert not drafts.review(save(study, written(changed(range=[0, 10])), None)).faults


def bring(study: Study, file: str, content: bytes, into: str = "", based_on: int | None = None) -> list[SurveyDraft]:
    return drafts.import_file(
        study=study,
        questionnaire=into,
        name=file,
        content=content,
        based_on=based_on,
        editor=None,
        actor="server",
        now=NOW,
    )


def test_a_json_file_is_a_draft_as_it_was_typed_faults_and_all(study: Study) -> None:
    (draft,) = bring(study, "Evening diary.json", b'\xef\xbb\xbf{"title": "half')
    assert (draft.questionnaire, draft.text, draft.source) == ("evening-diary", '{"title": "half', "Evening diary.json")
    (into,) = bring(study, "x.json", b"{}", into="momentary")
    assert into.questionnaire == "momentary"
    with pytest.raises(drafts.DraftMoved):
        bring(study, "y.json", b'{"other": 1}', into="momentary")
    with pytest.raises(drafts.FileRefused, match=r"z\.bin: "):
        bring(study, "z.bin", b"\x00\x01\x02")
    with pytest.raises(drafts.DraftTooLarge):
        bring(study, "large.json", b" " * 1_000_001)
    assert {each.source for each in study.survey_drafts.all()} == {"Evening diary.json", "x.json", "y.json"}


def test_an_xlsform_becomes_a_sound_draft(study: Study) -> None:
    rows = [["type", "name", "label"], ["integer", "steps", "How many steps?"], ["text", "note", "Anything?"]]
    (draft,) = bring(study, "Walk.xlsx", workbook(rows), into="momentary")
    assert read_typed(draft.text).sound
    assert [item["name"] for item in json.loads(draft.text)["items"]] == ["steps", "note"]
    assert "Item steps is new (number): “How many steps?”" in drafts.review(draft).changes


def test_several_questionnaires_of_one_file_become_drafts_together_or_not_at_all(
    study: Study, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def carried(name: str, content: bytes) -> Carried:
        second = "evening" if content == b"good" else "no/name"
        return Carried(
            {"morning": SURVEY, second: SURVEY}, [Lost("survey!C4", "a picture", "left out")], ["read as UTF-8"]
        )

    monkeypatch.setattr(files, "read_file", carried)
    with pytest.raises(drafts.NoName):
        bring(study, "form.xlsx", b"bad")
    assert not study.survey_drafts.exists()
    made = bring(study, "form.xlsx", b"good")
    assert [each.questionnaire for each in made] == ["morning", "evening"]
    assert made[0].lost == ["survey!C4: a picture – left out", "read as UTF-8 (nothing is lost)"]
    drafts.save_draft(
        study=study, questionnaire="morning", text="typed on", based_on=1, editor=None, actor="server", now=NOW
    )
    assert "survey!C4: a picture – left out" in client.get(page(study, "morning/")).content.decode()


# The pages


def test_the_first_page_says_how_to_begin_and_the_example_is_sound(owner: User, client: Client) -> None:
    study = Study.objects.create(slug="empty", title="Empty", starts_on=NOW.date(), ends_on=NOW.date())
    add_member(study=study, user=owner, role=Membership.Role.OWNER)
    assert "Upload an XLSForm, a REDCap data dictionary or JSON" in client.get(page(study, "")).content.decode()
    answer = client.post(page(study, ""), {"do": "example", "name": "momentary"}, follow=True)
    text = answer.content.decode()
    assert "no faults" in text
    assert "How cheerful do you feel?" in text
    assert drafts.newest_draft(study, "momentary").text == examples.MOMENTARY  # type: ignore[union-attr]
    taken = client.post(page(study, ""), {"do": "example", "name": "momentary"})
    assert taken.status_code == 409
    bad = client.post(page(study, ""), {"do": "example", "name": "a b/c"})
    assert bad.status_code == 400
    assert "cannot be a questionnaire’s short name" in bad.content.decode().replace("&#x27;", "’")


def test_the_editor_opens_on_the_version_and_saves(study: Study, client: Client) -> None:
    text = client.get(page(study)).content.decode()
    assert "Support?" in text
    answer = client.post(page(study), {"do": "save", "text": '{"broken', "based_on": ""}, follow=True)
    assert "Saved as revision 1." in answer.content.decode()
    assert "1 fault" in answer.content.decode()


def test_what_was_typed_is_there_again_after_an_error(study: Study, client: Client) -> None:
    for do in ("upload", "save"):  # no file was chosen; too large
        text = "typed " + ("x" * 1_000_000 if do == "save" else "")
        answer = client.post(page(study), {"do": do, "text": text, "based_on": ""})
        assert answer.status_code == (413 if do == "save" else 400)
        assert text in answer.content.decode()
    answer = client.post(page(study), {"do": "next", "text": "typed, not saved", "based_on": ""})
    assert "typed, not saved" in answer.content.decode()
    assert not study.survey_drafts.exists()


def test_what_was_typed_waits_for_whoever_typed_it_when_the_login_ran_out(
    study: Study, owner: User, client: Client
) -> None:
    proof = client.get(page(study)).context["proof"]
    late = Client()
    fields = {"do": "save", "text": "typed too late", "based_on": "", "proof": proof}
    answer = late.post(page(study), fields)
    assert answer.status_code == 302
    assert answer["Location"] == f"/login/?next={page(study)}"
    late.force_login(owner)
    text = late.get(page(study)).content.decode()
    assert "typed too late" in text
    assert "Your login had run out" in text
    assert "typed too late" not in late.get(page(study)).content.decode()
    stranger = Client()
    assert stranger.post(page(study), {**fields, "proof": "made up"}).status_code == 302
    assert not stranger.session.keys()
    other = researcher()
    add_member(study=study, user=other, role=Membership.Role.OWNER)
    later = Client()
    later.post(page(study), fields)
    later.force_login(other)
    assert "typed too late" not in later.get(page(study)).content.decode()


def test_the_second_of_two_editors_sees_both_texts_and_takes_one(study: Study, owner: User, client: Client) -> None:
    base = written(SURVEY)
    save(study, base, None, owner)
    colleague = researcher()
    save(study, base.replace("Stress?", "How stressed?"), 1, colleague)
    mine = base.replace("Support?", "How supported?")
    answer = client.post(page(study), {"do": "save", "text": mine, "based_on": "1"})
    text = answer.content.decode()
    assert answer.status_code == 409
    for words in (f"{colleague} saved revision 2", "How supported?", "How stressed?", "both changes fit into one text"):
        assert words in text
    merged = answer.context["merged"].text
    assert "How supported?" in merged
    assert "How stressed?" in merged
    assert client.get(page(study, "momentary/beside/3/")).status_code == 200
    assert client.get(page(study, "momentary/beside/9/")).status_code == 404
    client.post(page(study), {"do": "save", "text": merged, "based_on": "2"})
    newest = drafts.newest_draft(study, "momentary")
    assert newest is not None
    assert (newest.number, json.loads(newest.text)["items"][0]["text"]) == (4, "How supported?")


def test_publishing_goes_through_the_differences(study: Study, owner: User, client: Client) -> None:
    text = written(changed(text="How supported?"))
    answer = client.post(page(study), {"do": "review", "text": text, "based_on": ""}, follow=True)
    assert "the text is reworded: “Support?” → “How supported?”" in answer.content.decode()
    save(study, written(changed(text="Otherwise?")), 1, owner)
    overtaken = client.post(page(study, "momentary/publish/"), {"number": "1"})
    assert overtaken.status_code == 409
    assert "Otherwise?" in overtaken.content.decode()
    done = client.post(page(study, "momentary/publish/"), {"number": "2"}, follow=True)
    assert "Version 2 of momentary is published." in done.content.decode()
    assert "as published" in client.get(page(study, "")).content.decode()


def test_a_faulty_draft_cannot_be_published_from_its_page(study: Study, client: Client) -> None:
    save(study, "{", None)
    looked = client.get(page(study, "momentary/publish/")).content.decode()
    assert "to mend first" in looked
    assert "Publish version" not in looked
    assert client.post(page(study, "momentary/publish/"), {"number": "1"}).status_code == 400


def test_versions_and_revisions_are_downloaded_copied_and_gone_back_to(study: Study, client: Client) -> None:
    save(study, '{"half', None)
    assert client.get(page(study, "momentary/document/")).content == b'{"half'
    version = client.get(page(study, "momentary/document/?version=1"))
    assert json.loads(version.content) == SURVEY
    assert version["Content-Disposition"] == f'attachment; filename="{study.slug}-momentary-v1.json"'
    for query in ("?version=7", "?draft=7", "?version=x" * 9):
        assert client.get(page(study, f"momentary/document/{query}")).status_code in {200, 404}
    client.post(page(study), {"do": "copy:1", "text": "typed before", "based_on": "1"})
    texts = [each.text for each in study.survey_drafts.order_by("number")]
    assert texts[1:] == ["typed before", version.content.decode()]  # what was typed is a revision of its own
    client.post(page(study), {"do": "again:1", "text": texts[2], "based_on": "3"})
    newest = drafts.newest_draft(study, "momentary")
    assert newest is not None
    assert newest.text == '{"half'
    for do in ("copy:9", "again:9", "nonsense"):
        assert client.post(page(study), {"do": do, "text": "x", "based_on": "4"}).status_code == 404


def test_the_preview_goes_from_screen_to_screen(study: Study, client: Client) -> None:
    fields = {"text": written(SURVEY), "based_on": "", "at": "item:support"}
    asked = client.post(page(study), {**fields, "do": "next"}).content.decode()
    assert "An answer is required." in asked
    stress = client.post(page(study), {**fields, "do": "next", "a.support": "60"}).content.decode()
    assert "Stress?" in stress
    assert '<input type="hidden" name="a.support" value="60">' in stress
    assert not study.survey_drafts.exists()


def test_a_questionnaire_that_is_not_there_is_not_found(study: Study, client: Client) -> None:
    for path in ("other/", "other/publish/", "other/document/", "other/beside/1/"):
        assert client.get(page(study, path)).status_code == 404
    assert client.post(page(study, "other/"), {"do": "save", "text": "x"}).status_code == 404
    assert not study.survey_drafts.exists()


def test_the_trail_and_the_scope_know_drafts(study: Study) -> None:
    save(study, "one", None)
    with scope(study=live_study()):
        assert not SurveyDraft.objects.exists()


def test_a_form_that_was_left_open_too_long_gives_back_what_was_typed(study: Study, owner: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(owner)
    answer = strict.post(page(study), {"do": "save", "text": "<b>typed</b> " * 40, "based_on": ""})
    assert answer.status_code == 403
    text = answer.content.decode()
    assert "What you had typed, to copy" in text
    assert "&lt;b&gt;typed&lt;/b&gt;" in text
    assert not study.survey_drafts.exists()


def test_an_upload_keeps_what_was_typed_as_a_revision_of_its_own(study: Study, client: Client) -> None:
    file = SimpleUploadedFile("new.json", written(changed(text="From a file?")).encode())
    answer = client.post(page(study), {"do": "upload", "text": "typed", "based_on": "", "file": file}, follow=True)
    assert "new.json was read into the draft of momentary" in answer.content.decode()
    assert [each.source for each in study.survey_drafts.order_by("number")] == ["typed", "new.json"]
    listed = client.post(page(study, ""), {"do": "upload", "name": "", "file": SimpleUploadedFile("weekly.json", b"{")})
    assert listed["Location"] == page(study, "weekly/")
    nothing = client.post(page(study, ""), {"do": "upload"})
    assert nothing.status_code == 400
    assert "choose a file first" in nothing.content.decode()
