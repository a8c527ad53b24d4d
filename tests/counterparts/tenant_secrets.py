"""Secrets and certificates of a running recorder: new ones are taken up, ends are told of in time, unusable ones change nothing."""

import datetime
import os

from recorder_run import of, settings, texts
from tenant import SECRET
from tenant_answer import accepted, finish
from tenant_keys import client_certificate
from tenant_send import ALICE
from tenant_subscriptions import ALL, group, said, subscribed


@settings(keys=ALL)
def a_new_secret_needs_no_restart(run):
    """The old secret has ended; the administrator writes the new one into the file, and that is all."""
    run.file("secret", b"the old one\n")
    run.start(ready=False)
    run.until_listening()
    run.tenant.wait_request("POST", ".*/token", origin="login")
    run.equal(run.ready(), 503, "not ready without a token")
    run.file("secret", (SECRET + "\n").encode())
    run.until_ready(40)
    subscribed(run)
    run.check("new credentials are in use" in run.log(), "the log says so")
    run.stop()
    run.archive()


def an_unusable_secret_changes_nothing(run):
    run.start()
    call = accepted(run)
    run.file("secret", b"")
    run.until_logged("the credentials at hand stay in use")
    run.equal(run.ready(), 200, "still ready")
    finish(run, call)


@settings(certificate=True)
def a_new_certificate_needs_no_restart_and_its_end_is_told(run):
    """What ends within 30 days is told at the start and when it is taken up, without anybody running `check`."""
    run.file("client.pem", client_certificate(10)[0])
    run.start()
    run.until_logged("the certificate of certificate_file ends on")
    run.file("client.pem", client_certificate()[0])
    run.until_logged("new credentials are in use")
    run.equal(run.log().count("the certificate of certificate_file ends on"), 1, "which is not complained about")
    run.stop()
    run.archive()


@settings(keys=ALL)
def key_pairs_are_changed_by_schedule(run):
    """The pair in use is 200 days old, the schedule says 180: a new one is made and told to the subscription, and the old one goes on opening."""
    chat = group(run)
    run.start()
    one = subscribed(run)[0]
    said(run, chat, "with the first")
    run.until("the first", lambda e: texts(e) == ["with the first"])
    run.stop()
    folder = run.path("archive", "keys", "teams-teams")
    name, = os.listdir(folder)
    rest = name.split("-", 1)[1]
    old = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=200)
    os.rename(os.path.join(folder, name), os.path.join(folder, old.strftime("%Y%m%dT%H%M%S.000Z-") + rest))
    sealed = run.service.item(one, chat, run.tenant.chats.say(chat, ALICE, "sealed for the old one"))
    before = one.body["encryptionCertificateId"]
    run.start()
    run.tenant.wait("the new certificate", lambda: one.body["encryptionCertificateId"] != before)
    run.equal(len(os.listdir(folder)), 2, "two pairs")
    said(run, chat, "with the second")
    run.equal(run.service.changes([sealed], [run.service.validation_token()]).status, 202, "late, but taken")
    run.until("all", lambda e: set(texts(e)) == {"with the first", "with the second", "sealed for the old one"})
    run.stop()
    events, _ = run.archive()
    run.equal(of(events, "capture.gap"), [], "no gap")


SCENARIOS = (key_pairs_are_changed_by_schedule, a_new_secret_needs_no_restart, an_unusable_secret_changes_nothing, a_new_certificate_needs_no_restart_and_its_end_is_told)
