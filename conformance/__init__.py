"""Does a server keep the promises of the phone API? This kit finds out from outside, by behaviour alone.

    python -m conformance --url https://ema.example.org --code CODE [--code CODE …]

It knows no server's internals: only the API as docs/phone-api.md says it, httpx and msgspec, and no client code that could
share a mistake with it. It reads the questionnaires from `GET sync`, makes answers to them, and sends them well, badly,
twice, all at once and cut in the middle. Use a study of its own: what it stores stays there.

Each code lets one phone in:

    1st  nearly all checks
    2nd  a second person: ids between people, renewing the credential, a new phone, pausing
    3rd  is withdrawn at the end, keeping the data
    4th  is withdrawn at the end and erased

With fewer codes the checks that need more are skipped, each with its reason. A study-wide code may be given once for all
four with `--study-code`. The exit status is 0 where nothing failed, 1 where something did, 2 where nothing could be checked.
"""
