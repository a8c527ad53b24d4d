"""Validates and decrypts what the simulated tenant sent, with PyJWT and cryptography (OpenSSL). Standard input: JSON with base,
client, tenant, key (PEM) and got: [{path, token, body}]."""
import base64
import json
import os
import sys
import urllib.request

import jwt
from cryptography.hazmat.primitives import hashes, hmac, padding, serialization
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

a = json.load(sys.stdin)
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
private = serialization.load_pem_private_key(a["key"].encode(), None)


def keys(path):
    metadata = json.load(urllib.request.urlopen(a["base"] + path))
    return jwt.PyJWKClient(metadata["jwks_uri"]), json.load(urllib.request.urlopen(metadata["jwks_uri"]))


calls, _ = keys("/aps/v1/.well-known/OpenIdConfiguration")
login, _ = keys("/common/.well-known/openid-configuration")
bot, bot_keys = keys("/bot/v1/.well-known/openidconfiguration")


def check(client, token, issuer):
    return jwt.decode(token, client.get_signing_key_from_jwt(token).key, algorithms=["RS256"], audience=a["client"],
                      issuer=issuer, options={"require": ["exp", "nbf", "iat", "iss", "aud"]})


def decrypt(content):
    key = private.decrypt(base64.b64decode(content["dataKey"]), rsa_padding.OAEP(
        rsa_padding.MGF1(hashes.SHA1()), hashes.SHA1(), None))
    data = base64.b64decode(content["data"])
    mac = hmac.HMAC(key, hashes.SHA256())
    mac.update(data)
    mac.verify(base64.b64decode(content["dataSignature"]))
    decryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).decryptor()
    unpadder = padding.PKCS7(128).unpadder()
    plain = unpadder.update(decryptor.update(data) + decryptor.finalize()) + unpadder.finalize()
    return json.loads(plain)


counts = {"calls": 0, "items": 0, "activities": 0}
for got in a["got"]:
    body = got["body"]
    if got["path"].startswith("/api/calls"):
        assert check(calls, got["token"], "https://api.botframework.com")["tid"] == a["tenant"]
        counts["calls"] += 1
    elif got["path"] == "/api/messages":
        claims = check(bot, got["token"], "https://api.botframework.com")
        assert claims["serviceurl"] == body["serviceUrl"]
        kid = jwt.get_unverified_header(got["token"])["kid"]
        assert "msteams" in next(k for k in bot_keys["keys"] if k["kid"] == kid)["endorsements"]
        counts["activities"] += 1
    elif got["path"] == "/api/notifications":
        for token in body["validationTokens"]:
            claims = check(login, token, f"https://sts.windows.net/{a['tenant']}/")
            assert claims["appid"] == "0bf30f3b-4a52-48df-9a82-234910c4a086"
        assert body["validationTokens"]
        for item in body["value"]:
            message = decrypt(item["encryptedContent"])
            assert message["id"] == item["resourceData"]["id"] and message["etag"]
            counts["items"] += 1
assert all(counts.values()), counts
print(counts)
