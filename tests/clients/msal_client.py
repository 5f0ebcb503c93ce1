"""A desktop app, an API and a machine that use the unmodified MSAL for Python.

The case is an argument, its configuration comes on stdin; what a person has to do, and the outcome,
are lines of JSON on stdout. The certificate authority comes by REQUESTS_CA_BUNDLE.
"""

import json
import sys
import time
import webbrowser

import msal
import requests

case, settings = sys.argv[1], json.load(sys.stdin)


def say(**line):
    print(json.dumps(line), flush=True)


class Teller(webbrowser.BaseBrowser):
    """Prints the page for the test to open."""

    def open(self, url, new=0, autoraise=True):
        say(open=url)
        return True


webbrowser.register("teller", None, Teller(), preferred=True)


def public(**more):
    return msal.PublicClientApplication(
        settings["client"], authority=settings["authority"], instance_discovery=False, **more
    )


def confidential(credential):
    return msal.ConfidentialClientApplication(
        settings["gateway"],
        client_credential=credential,
        authority=settings["authority"],
        instance_discovery=False,
    )


def outcome(result):
    if "access_token" not in result:
        sys.exit(json.dumps(result))
    return {
        "token": result["access_token"],
        "cached": result["token_source"] == "cache",
        "refresh_in": int(result["refresh_on"] - time.time()) if "refresh_on" in result else None,
    }


def sign_in():
    app = public(client_capabilities=["cp1"])
    scopes = [settings["scope"]]
    first = app.acquire_token_interactive(scopes, timeout=60)
    account = app.get_accounts()[0]
    silent = lambda **more: app.acquire_token_silent_with_error(scopes, account, **more)
    return {
        "first": outcome(first),
        "claims": first["id_token_claims"],
        "account": account["home_account_id"],
        "cached": outcome(silent()),
        "refreshed": outcome(silent(force_refresh=True)),
        "challenged": outcome(silent(claims_challenge=settings["challenge"])),
    }


def device():
    app = public()
    flow = app.initiate_device_flow([settings["scope"]])
    say(page=flow["verification_uri"], code=flow["user_code"])
    result = app.acquire_token_by_device_flow(flow)
    return {"first": outcome(result), "accounts": len(app.get_accounts())}


def on_behalf_of():
    token = public().acquire_token_interactive([settings["scope"]], timeout=60)["access_token"]
    api = confidential(settings["secret"])
    first = api.acquire_token_on_behalf_of(token, [settings["downstream"]])
    # This client searches its cache only if an account is given.
    [account] = api.get_accounts()
    again = api.acquire_token_silent_with_error([settings["downstream"]], account)
    return {"first": outcome(first), "cached": outcome(again)}


def machine():
    key = settings["key"]
    identity = msal.ManagedIdentityClient(
        msal.UserAssignedManagedIdentity(client_id=settings["identity"]),
        http_client=requests.Session(),
    )

    def federated():
        return identity.acquire_token_for_client(resource=settings["exchange"])["access_token"]

    credentials = {
        "secret": settings["secret"],
        "sha256": {"private_key": key, "public_certificate": settings["certificate"]},
        "sha1": {"private_key": key, "thumbprint": settings["thumbprint"]},
        "federated": {"client_assertion": federated},
    }
    outcomes = {}
    for name, credential in credentials.items():
        app = confidential(credential)
        ask = lambda: outcome(app.acquire_token_for_client([settings["downstream"]]))
        outcomes[name] = {"first": ask(), "cached": ask()}
    return outcomes


cases = {
    "sign-in": sign_in,
    "device": device,
    "on-behalf-of": on_behalf_of,
    "machine": machine,
}
say(done=cases[case]())
