"""Single sign-on from the environment: nothing set is off, everything set is on, anything between is a fault."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

OIDC = ("EMA_OIDC_ISSUER", "EMA_OIDC_CLIENT_ID", "EMA_OIDC_CLIENT_SECRET")
SAML_SOURCES = ("EMA_SAML_METADATA_URL", "EMA_SAML_METADATA_FILE")
EMAIL_ATTRIBUTES = [
    "urn:oid:0.9.2342.19200300.100.1.3",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
    "mail",
    "email",
]


@dataclass(frozen=True)
class SingleSignOn:
    """What allauth needs to know, and each fault as (variable, what is wrong, what is accepted)."""

    apps: list[str] = field(default_factory=list)
    providers: dict[str, Any] = field(default_factory=dict)
    faults: list[tuple[str, str, str]] = field(default_factory=list)


def from_environment(environment: Mapping[str, str]) -> SingleSignOn:
    found = SingleSignOn()
    values = {name: value.strip() for name, value in environment.items() if value.strip()}
    _oidc(values, found)
    _saml(values, found)
    return found


def _oidc(values: dict[str, str], found: SingleSignOn) -> None:
    if not any(name in values for name in (*OIDC, "EMA_OIDC_NAME")):
        return
    missing = [name for name in OIDC if name not in values]
    for name in missing:
        found.faults.append((name, "is not set, but another EMA_OIDC_ setting is", "all three of " + ", ".join(OIDC)))
    issuer = values.get("EMA_OIDC_ISSUER", "").removesuffix("/.well-known/openid-configuration")
    if issuer and not _protected(issuer):
        found.faults.append(("EMA_OIDC_ISSUER", "is no protected address", "https://…, as the provider states it"))
    if found.faults:
        return
    found.apps.append("allauth.socialaccount.providers.openid_connect")
    found.providers["openid_connect"] = {
        "OAUTH_PKCE_ENABLED": True,
        "APPS": [
            {
                "provider_id": "oidc",
                "name": values.get("EMA_OIDC_NAME", "Single sign-on"),
                "client_id": values["EMA_OIDC_CLIENT_ID"],
                "secret": values["EMA_OIDC_CLIENT_SECRET"],
                "settings": {"server_url": issuer},
            }
        ],
    }


def _saml(values: dict[str, str], found: SingleSignOn) -> None:
    if not any(name.startswith("EMA_SAML_") for name in values):
        return
    sources = [name for name in SAML_SOURCES if name in values]
    accepted = "one of EMA_SAML_METADATA_URL and EMA_SAML_METADATA_FILE, with EMA_SAML_ENTITY_ID"
    before = len(found.faults)
    if len(sources) != 1:
        wrong = "are both set" if sources else "are both not set, but another EMA_SAML_ setting is"
        found.faults.append((" and ".join(SAML_SOURCES), wrong, accepted))
    if "EMA_SAML_ENTITY_ID" not in values:
        found.faults.append(("EMA_SAML_ENTITY_ID", "is not set, but another EMA_SAML_ setting is", accepted))
    url = values.get("EMA_SAML_METADATA_URL", "")
    if url and not _protected(url):
        found.faults.append(("EMA_SAML_METADATA_URL", "is no protected address", "https://…"))
    if len(found.faults) > before:
        return
    entity_id = values["EMA_SAML_ENTITY_ID"]
    idp: dict[str, Any] = {"entity_id": entity_id, "metadata_url": url}
    if not url:
        idp, wrong = _idp_from_file(values["EMA_SAML_METADATA_FILE"], entity_id)
        if wrong:
            found.faults.append(("EMA_SAML_METADATA_FILE", wrong, "the identity provider's metadata as an XML file"))
            return
    found.apps.append("allauth.socialaccount.providers.saml")
    found.providers["saml"] = {
        "APPS": [
            {
                "provider_id": "saml",
                "name": values.get("EMA_SAML_NAME", "Institution"),
                "client_id": "saml",
                "settings": {
                    "idp": idp,
                    "attribute_mapping": {
                        "uid": ["urn:oasis:names:tc:SAML:attribute:subject-id"],
                        "email": EMAIL_ATTRIBUTES,
                        "first_name": ["urn:oid:2.5.4.42"],
                        "last_name": ["urn:oid:2.5.4.4"],
                    },
                    "verified_email": True,
                    "advanced": {
                        "want_assertion_signed": True,
                        "reject_idp_initiated_sso": True,
                        "allow_single_label_domains": True,
                        "strict": True,
                    },
                },
            }
        ]
    }


def _idp_from_file(path: str, entity_id: str) -> tuple[dict[str, Any], str]:
    # Only a server with SAML switched on loads the XML libraries.
    from onelogin.saml2.idp_metadata_parser import OneLogin_Saml2_IdPMetadataParser as Parser

    try:
        with open(path, "rb") as file:
            idp = Parser.parse(file.read(), entity_id=entity_id).get("idp", {})
        single = idp.get("x509cert") or idp["x509certMulti"]["signing"][0]
        return {"entity_id": entity_id, "x509cert": single, "sso_url": idp["singleSignOnService"]["url"]}, ""
    except OSError as error:
        return {}, f"cannot be read ({error.strerror})"
    except Exception as error:  # the parser raises whatever its XML library raises
        return {}, f"is no metadata of {entity_id} with a certificate and a sign-on address ({type(error).__name__})"


def _protected(address: str) -> bool:
    parts = urlsplit(address)
    local = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and local))
