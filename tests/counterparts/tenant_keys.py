"""Keys, tokens and encrypted content as Microsoft's services make them. Our own code over PyJWT and cryptography."""

import base64
import datetime
import functools
import hashlib
import hmac
import itertools
import json
import os
import threading
import time

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, padding, serialization
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.x509.oid import NameOID

numbers = itertools.count(1)


def once(make):
    """Remembers what was made; two threads that ask at a time get the same, which `lru_cache` alone does not promise."""
    lock, made = threading.Lock(), functools.lru_cache(maxsize=None)(make)

    def ask(*args):
        with lock:
            return made(*args)
    return ask


@once
def rsa_key(name):
    """Making a key takes a while, so scenarios share them by name."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def b64url(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class KeySet:
    """What stands behind one `jwks_uri`. `endorsements` are there only in the bot's set; `others` are keys of other sorts."""

    def __init__(self, name, endorsements=None):
        self.name, self.endorsements, self.keys, self.down, self.fetched, self.others = name, endorsements, [], False, 0, []
        self.turn()

    def turn(self, keep=True):
        """A new signing key; the old ones stay published or go."""
        key = rsa_key(f"{self.name}{len(self.keys) % 3}")
        self.keys = (self.keys if keep else []) + [(f"{self.name}-{next(numbers)}", key)]
        return self.keys[-1][0]

    def document(self):
        found = list(self.others)
        for kid, key in self.keys:
            public = key.public_key().public_numbers()
            one = {"kty": "RSA", "use": "sig", "kid": kid, "x5t": kid, "n": b64url(public.n.to_bytes(256, "big")), "e": b64url(public.e.to_bytes(3, "big"))}
            if self.endorsements is not None:
                one["endorsements"] = self.endorsements
            found.append(one)
        return {"keys": found}

    def sign(self, claims, kid=None, key=None, algorithm="RS256", headers=None):
        last, own = self.keys[-1]
        kid = last if kid is None else kid
        return jwt.encode(claims, key or own, algorithm, {"kid": kid, "x5t": kid, **(headers or {})})


def life(minutes=65, past=0):
    now = int(time.time()) - past
    return {"iat": now, "nbf": now, "exp": now + minutes * 60}


def without(claims, *names):
    return {k: v for k, v in claims.items() if k not in names}


# ---- resource data that only the owner of a certificate can read


def encrypt(public_key, certificate_id, thumbprint, resource):
    """The `encryptedContent` of a change notification: OAEP with SHA-1, the IV inside the key, HMAC over the ciphertext."""
    plain = resource if isinstance(resource, bytes) else json.dumps(resource, ensure_ascii=False).encode()
    key = os.urandom(32)
    padder = padding.PKCS7(128).padder()
    padded = padder.update(plain) + padder.finalize()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    data = encryptor.update(padded) + encryptor.finalize()
    oaep = rsa_padding.OAEP(mgf=rsa_padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)
    text = lambda raw: base64.b64encode(raw).decode()
    return {"data": text(data), "dataSignature": text(hmac.new(key, data, hashlib.sha256).digest()), "dataKey": text(public_key.encrypt(key, oaep)),
            "encryptionCertificateId": certificate_id, "encryptionCertificateThumbprint": thumbprint}


def decrypt(private_key, content):
    """The way back, for the check of our own work against the published vector."""
    oaep = rsa_padding.OAEP(mgf=rsa_padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)
    key = private_key.decrypt(base64.b64decode(content["dataKey"]), oaep)
    data = base64.b64decode(content["data"])
    if not hmac.compare_digest(hmac.new(key, data, hashlib.sha256).digest(), base64.b64decode(content["dataSignature"])):
        raise ValueError("the signature does not fit the data")
    decryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).decryptor()
    unpadder = padding.PKCS7(128).unpadder()
    padded = decryptor.update(data) + decryptor.finalize()
    return unpadder.update(padded) + unpadder.finalize()


class Certificate:
    """What a subscription brought along: base64 of the DER, from which Graph takes the public key and the thumbprint."""

    def __init__(self, text):
        der = base64.b64decode(text, validate=True)
        self.parsed = x509.load_der_x509_certificate(der)
        self.key = self.parsed.public_key()
        self.thumbprint = hashlib.sha1(der).hexdigest().upper()


# ---- the client's assertion


@once
def certificate_of(days):
    """A key pair for `certificate_file` and `private_key_file`: (PEM of the certificate, PEM of the key, DER of the certificate)."""
    key = rsa_key("client")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "recorder")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(77)
                   .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=days)).sign(key, hashes.SHA256()))
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(serialization.Encoding.PEM), private, certificate.public_bytes(serialization.Encoding.DER)


def client_certificate(days=400):
    return certificate_of(days)


def wrong_with_assertion(assertion, endpoint, client, used):
    """What Entra would object to, or None."""
    used_der = [certificate_of(d)[2] for d in (400, 10)]
    try:
        header = jwt.get_unverified_header(assertion)
        claims = jwt.decode(assertion, rsa_key("client").public_key(), algorithms=["PS256", "RS256"], audience=endpoint, issuer=client,
                            options={"require": ["aud", "iss", "sub", "jti", "nbf", "exp"]})
    except jwt.PyJWTError as e:
        return str(e)
    if claims["sub"] != client:
        return "sub"
    if not any(header.get("x5t#S256") == b64url(hashlib.sha256(der).digest()) or header.get("x5t") == b64url(hashlib.sha1(der).digest()) for der in used_der):
        return "no thumbprint of the certificate"
    if claims["exp"] - time.time() > 11 * 60:
        return "lives too long"
    if claims["jti"] in used:
        return "jti used twice"
    used.add(claims["jti"])
    return None
