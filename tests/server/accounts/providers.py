"""A small identity provider of each kind, on this machine, with keys of its own."""

from __future__ import annotations

import base64
import json
import threading
import zlib
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import uuid4

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from onelogin.saml2.utils import OneLogin_Saml2_Utils


class OidcProvider:
    """Discovery, authorize with PKCE, token with an RS256 id_token, keys, userinfo. `person` is who logs in there."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.person: dict[str, Any] = {}
        self.userinfo: dict[str, Any] = {}
        self.codes: dict[str, dict[str, str]] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                provider.answer(self, urlsplit(self.path).path, parse_qs(urlsplit(self.path).query))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                provider.answer(self, urlsplit(self.path).path, parse_qs(body))

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, http: BaseHTTPRequestHandler, path: str, given: dict[str, list[str]]) -> None:
        if path == "/authorize":
            code = uuid4().hex
            self.codes[code] = {name: values[0] for name, values in given.items()}
            back = urlencode({"code": code, "state": given["state"][0]})
            http.send_response(302)
            http.send_header("Location", f"{given['redirect_uri'][0]}?{back}")
            http.end_headers()
            return
        status, body = 200, self._document(http, path, given)
        if body is None:
            status, body = 400, {"error": "invalid_grant"}
        content = json.dumps(body).encode()
        http.send_response(status)
        http.send_header("Content-Type", "application/json")
        http.send_header("Content-Length", str(len(content)))
        http.end_headers()
        http.wfile.write(content)

    def _document(self, http: BaseHTTPRequestHandler, path: str, given: dict[str, list[str]]) -> dict[str, Any] | None:
        if path == "/.well-known/openid-configuration":
            names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "userinfo_endpoint": "userinfo"}
            found = {name: f"{self.issuer}/{place}" for name, place in (names | {"jwks_uri": "jwks"}).items()}
            return {"issuer": self.issuer, **found, "token_endpoint_auth_methods_supported": ["client_secret_post"]}
        if path == "/jwks":
            key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
            return {"keys": [key | {"kid": "one", "alg": "RS256", "use": "sig"}]}
        if path == "/userinfo":
            return self.userinfo if http.headers["Authorization"] == "Bearer access" else None
        return self._token(given)

    def _token(self, given: dict[str, list[str]]) -> dict[str, Any] | None:
        asked = self.codes.pop(given["code"][0], None)
        proof = base64.urlsafe_b64encode(sha256(given["code_verifier"][0].encode()).digest()).decode().rstrip("=")
        if asked is None or proof != asked["code_challenge"] or given["client_secret"] != ["secret"]:
            return None
        now = datetime.now(UTC)
        claims = {"iss": self.issuer, "aud": asked["client_id"], "iat": now, "exp": now + timedelta(minutes=5)}
        token = jwt.encode(claims | self.person, self.key, algorithm="RS256", headers={"kid": "one"})
        return {"access_token": "access", "token_type": "Bearer", "expires_in": 300, "id_token": token}


class SamlProvider:
    """Metadata with a certificate, and signed answers to a sign-on request."""

    entity_id = "https://idp.example.org/metadata"
    sso_url = "https://idp.example.org/sso"

    def __init__(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "idp.example.org")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        encoding = serialization.Encoding.PEM
        self.key = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
        self.certificate = certificate.public_bytes(encoding).decode()

    @property
    def metadata(self) -> str:
        bare = "".join(self.certificate.splitlines()[1:-1])
        return (
            f'<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="{self.entity_id}">'
            '<IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">'
            '<KeyDescriptor use="signing"><KeyInfo xmlns="http://www.w3.org/2000/09/xmldsig#"><X509Data>'
            f"<X509Certificate>{bare}</X509Certificate></X509Data></KeyInfo></KeyDescriptor>"
            '<SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" '
            f'Location="{self.sso_url}"/></IDPSSODescriptor></EntityDescriptor>'
        )

    def answer(self, location: str, *, email: str, audience: str, acs: str, signed: bool = True) -> str:
        """The form field SAMLResponse for the request that this redirect carries."""
        packed = base64.b64decode(parse_qs(urlsplit(location).query)["SAMLRequest"][0])
        request = zlib.decompress(packed, -15).decode()
        asked = request.split('ID="', 1)[1].split('"', 1)[0]
        now = datetime.now(UTC)
        at, until = (moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in (now, now + timedelta(minutes=5)))
        assertion = (
            f'<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_{uuid4().hex}" Version="2.0" '
            f'IssueInstant="{at}"><saml:Issuer>{self.entity_id}</saml:Issuer><saml:Subject>'
            '<saml:NameID Format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent">person-1</saml:NameID>'
            '<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer">'
            f'<saml:SubjectConfirmationData NotOnOrAfter="{until}" Recipient="{acs}" InResponseTo="{asked}"/>'
            f'</saml:SubjectConfirmation></saml:Subject><saml:Conditions NotBefore="{at}" NotOnOrAfter="{until}">'
            f"<saml:AudienceRestriction><saml:Audience>{audience}</saml:Audience></saml:AudienceRestriction>"
            f'</saml:Conditions><saml:AuthnStatement AuthnInstant="{at}" SessionIndex="s1"><saml:AuthnContext>'
            "<saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml:AuthnContextClassRef>"
            "</saml:AuthnContext></saml:AuthnStatement><saml:AttributeStatement>"
            '<saml:Attribute Name="urn:oid:0.9.2342.19200300.100.1.3"><saml:AttributeValue>'
            f"{email}</saml:AttributeValue></saml:Attribute></saml:AttributeStatement></saml:Assertion>"
        )
        if signed:
            signature = OneLogin_Saml2_Utils.add_sign(assertion, self.key, self.certificate)
            assertion = signature.decode() if isinstance(signature, bytes) else signature
        response = (
            f'<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ID="_{uuid4().hex}" Version="2.0" '
            f'IssueInstant="{at}" Destination="{acs}" InResponseTo="{asked}">'
            f'<saml:Issuer xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">{self.entity_id}</saml:Issuer>'
            '<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status>'
            f"{assertion}</samlp:Response>"
        )
        return base64.b64encode(response.encode()).decode()
