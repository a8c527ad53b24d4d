"""Drives the PyPI package `ucwa` 0.3.0 against a simulated pool: register, become available, accept, read a message.

Usage: ucwa_client.py POOL_URL USERNAME PASSWORD EXPECTED_TEXT

The package was written for Python 2 and for one cloud service; the shims below only let it run on Python 3. Its
discovery knows one cloud host and its sign-in another protocol, so the ticket is fetched here.
"""
import sys
import threading
import urllib.parse
import uuid

import requests
import yaml

# Shims: two names that moved, a loader that became mandatory, header values that must be text.
urllib.unquote = urllib.parse.unquote
urllib.unquote_plus = urllib.parse.unquote_plus
_load = yaml.load
yaml.load = lambda stream, Loader=yaml.SafeLoader: _load(stream, Loader=Loader)
_uuid1 = uuid.uuid1
uuid.uuid1 = lambda: str(_uuid1())

import ucwa.actions as actions  # noqa: E402
import ucwa.events as events  # noqa: E402


def main():
    pool, username, password, expected = sys.argv[1:5]
    challenge = requests.post(pool + "/ucwa/oauth/v1/applications")
    assert challenge.status_code == 401, challenge.status_code
    assert "MsRtcOAuth" in challenge.headers["WWW-Authenticate"]
    granted = requests.post(
        pool + "/WebTicket/oauthtoken",
        data={"grant_type": "password", "username": username, "password": password},
    )
    assert granted.status_code == 200, granted.text
    token = granted.json()["access_token"]

    config = {"redirect_uri": "https://client.invalid"}
    understood = []
    events.MESSAGE_CALLBACK = lambda message, thread, reply: understood.append(message)
    app = actions.register_application(pool, token, config)
    actions.set_available(pool, app["id"], token, config)
    url = pool + app["_links"]["events"]["href"]
    for _ in range(20):
        answer = actions.oauth_stream_request(url, token, config["redirect_uri"]).json()
        # The package looks at the first sender only; each sender is handed to it in turn.
        for sender in answer.get("sender", []):
            for event in sender["events"]:
                try:
                    events.process_events([event], pool, token, config)
                except requests.HTTPError as refusal:
                    # It greets a conversation that is not connected yet; a pool refuses that.
                    print("refused:", refusal.response.status_code)
        for message in understood:
            print("understood:", message.strip())
        if any(expected == message.strip() for message in understood):
            return 0
        understood.clear()
        url = pool + answer["_links"]["next"]["href"]
    return 1


if __name__ == "__main__":
    timer = threading.Timer(60, lambda: (print("too slow", file=sys.stderr), __import__("os")._exit(2)))
    timer.daemon = True
    timer.start()
    sys.exit(main())
