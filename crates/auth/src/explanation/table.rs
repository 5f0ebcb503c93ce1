//! The meaning of Entra's errors by number, and of others by code.
//!
//! The numbers are from Microsoft's list of AADSTS error codes, as far as a sign-in can meet them.

use super::Actor::{self, Administrator, Owner, Time, You};

/// One row. `what` completes "the sign-in was refused: …".
#[derive(Clone, Copy, Debug)]
pub(super) struct Meaning {
    pub(super) what: &'static str,
    pub(super) todo: &'static str,
    pub(super) actor: Actor,
    /// True if an administrator can solve it by consenting.
    pub(super) admin_consent: bool,
}

const fn row(actor: Actor, what: &'static str, todo: &'static str) -> Meaning {
    Meaning {
        what,
        todo,
        actor,
        admin_consent: false,
    }
}

const fn consent(actor: Actor, what: &'static str, todo: &'static str) -> Meaning {
    Meaning {
        admin_consent: true,
        ..row(actor, what, todo)
    }
}

const AGAIN: &str = "sign in again";
const OURS: &str = "sign in again; if it fails again, report it to the developers of Postern";

/// Returns the meaning of the error with this number.
pub(super) fn meaning(number: u32) -> Option<Meaning> {
    Some(match number {
        // Consent and assignment.
        65001 => consent(
            You,
            "consent has not been granted to this application",
            "sign in again and accept; where you are not allowed to, send your administrator this link",
        ),
        90094 | 90095 => consent(
            Administrator,
            "only an administrator may consent to this application",
            "send your administrator this link, and sign in again afterwards",
        ),
        65004 => row(
            You,
            "the requested access was not accepted",
            "sign in again and accept, if that was not meant",
        ),
        50105 => row(
            Administrator,
            "your account is not assigned to this application",
            "ask your administrator to assign you to it (Entra: Enterprise applications, Users and groups)",
        ),
        65002 => row(
            Owner,
            "the application and the server's application are both Microsoft's own, and Microsoft has not allowed the one to use the other",
            "set the client id of an application that your organisation registered for this server",
        ),
        // The user.
        50076 | 50074 => row(
            You,
            "your organisation wants a second factor for this",
            AGAIN,
        ),
        50072 | 50079 => row(
            You,
            "your organisation wants you to set up a second factor",
            "sign in again and follow the pages that set it up",
        ),
        50058 => row(You, "no account is signed in to the browser", AGAIN),
        50057 => row(
            Administrator,
            "your account is disabled",
            "ask your administrator",
        ),
        50020 => row(
            You,
            "your account belongs to another organisation, and is not a guest of this one",
            "sign in with an account of this organisation, or ask its administrator for an invitation",
        ),
        // Conditional access.
        53000 => row(
            You,
            "your organisation asks for a device that meets its rules, and this one does not",
            "check this device in your organisation's portal, or ask its administrator",
        ),
        53001 => row(
            Administrator,
            "your organisation asks for a device that has joined it, and this one has not",
            "sign in on a joined device, or ask your administrator",
        ),
        53002 => row(
            Administrator,
            "your organisation admits only programs from its list, and this one is not on it",
            "ask your administrator",
        ),
        53003 => row(
            Administrator,
            "a conditional access rule of your organisation does not allow it here and now",
            "try from another place or device, or ask your administrator which rule it was",
        ),
        530_032 => row(
            Administrator,
            "a security policy of your organisation does not allow it",
            "ask your administrator which policy it was",
        ),
        530_035 => row(
            Administrator,
            "the security defaults of your organisation do not allow this kind of sign-in",
            "sign in with a browser and not by device code, or ask your administrator",
        ),
        530_036 => row(
            You,
            "your organisation does not allow sign-ins by device code or by authentication transfer, and this one comes from such a sign-in",
            "sign in with a browser and not by device code",
        ),
        // Sign-ins that have ended.
        50173 => row(
            You,
            "the password was changed, or all sign-ins of the account were ended",
            AGAIN,
        ),
        700_082 => row(You, "the sign-in has not been used for too long", AGAIN),
        70008 => row(You, "the sign-in has ended", AGAIN),
        70043 => row(
            You,
            "your organisation asks for a new sign-in every so often",
            AGAIN,
        ),
        50089 => row(You, "the sign-in took too long", AGAIN),
        700_084 => row(
            Owner,
            "the sign-in has ended after a day, because the application is registered as a single-page application",
            "sign in again; to make it last, register http://localhost under Mobile and desktop applications instead",
        ),
        54005 => row(You, "the code of the sign-in had been used before", AGAIN),
        700_005 => row(
            You,
            "the sign-in was begun at another organisation (tenant)",
            AGAIN,
        ),
        501_481 | 50147 | 501_491 => row(You, "the PKCE verifier does not match the code", OURS),
        50196 => row(
            Time,
            "there were too many of the same requests",
            "wait a few minutes, then sign in again",
        ),
        // The registration.
        50011 => row(
            Owner,
            "the address that the browser should return to is not registered",
            "register http://localhost under Mobile and desktop applications",
        ),
        700_016 => row(
            Owner,
            "the application does not exist in this organisation",
            "check the tenant and the client id of this server",
        ),
        700_038 => row(
            Owner,
            "the client id is not the id of an application",
            "check the client id of this server",
        ),
        50194 => row(
            Owner,
            "the application is for one organisation only",
            "put the tenant's id into the authority of this server in place of `common`",
        ),
        50049 => row(
            Owner,
            "Entra does not know this authority",
            "check the authority of this server",
        ),
        90002 | 900_384 | 90038 => row(
            Owner,
            "there is no such organisation (tenant) in this cloud",
            "check the authority of this server",
        ),
        9_002_332 | 90124 | 90130 | 9_001_023 => row(
            Owner,
            "the application does not accept this kind of account",
            "sign in with an account of the organisation, or check the authority of this server",
        ),
        7_000_218 => row(
            Owner,
            "the application is registered as one that has a secret (platform Web)",
            "register http://localhost under Mobile and desktop applications and not under Web; for a sign-in by code, allow public client flows as well",
        ),
        700_025 => row(
            Owner,
            "the application is registered as one without a secret, and one was sent",
            "take the client secret out of this server's configuration",
        ),
        9_002_326 | 9_002_327 => row(
            Owner,
            "the address that the browser returns to is registered for single-page applications",
            "register http://localhost under Mobile and desktop applications, and not under Single-page application",
        ),
        7_000_215 => row(
            Owner,
            "the client secret is wrong",
            "store the secret's value again, not its id",
        ),
        7_000_222 => row(
            Owner,
            "the client secret has expired",
            "make a new one in the application's registration and store that",
        ),
        700_027 => row(
            Owner,
            "the certificate is not registered for the application",
            "upload the certificate to the application's registration",
        ),
        70021 | 700_211..=700_213 => row(
            Owner,
            "no federated credential of the application fits",
            "compare issuer, subject and audience of the application's federated credential with the token's",
        ),
        // Scopes and resources.
        70011 | 28002 => row(
            Owner,
            "a scope cannot be requested",
            "check the scopes of this server",
        ),
        650_053 => row(
            Owner,
            "a scope does not exist at the server's application",
            "check the scopes of this server; each begins with the App ID URI",
        ),
        28000 | 700_022 => row(
            Owner,
            "scopes of several applications cannot be requested at once",
            "check the scopes of this server",
        ),
        500_011 | 650_057 | 50001 => row(
            Owner,
            "the server's application does not exist in this organisation, or this program may not use it",
            "check the resource (App ID URI) of this server and the API permissions of the application",
        ),
        9_010_010 => row(
            Owner,
            "the resource is not an App ID URI of the application that the scopes belong to",
            "check the resource (App ID URI) of this server, letter for letter, and its scopes",
        ),
        901_002 => row(
            Owner,
            "the authority does not accept `resource`",
            "check the authority of this server",
        ),
        90009 => row(
            Owner,
            "the application requests itself by name instead of its id",
            "set the resource of this server to the client id instead of the App ID URI",
        ),
        900_144 | 90014 | 70003 => {
            row(Owner, "the authority does not understand the request", OURS)
        }
        // Device code.
        70016 => row(You, "the code was not entered yet", AGAIN),
        70018 => row(You, "the code is not known", AGAIN),
        70019 => row(You, "the code was not entered in time", AGAIN),
        70020 => row(You, "the sign-in was declined", AGAIN),
        // On behalf of.
        50013 | 500_131 | 500_133 | 50027 => row(You, "the assertion is expired or invalid", AGAIN),
        // Temporary errors.
        90033 | 90006 | 50033 | 90024 | 90055 => row(
            Time,
            "the authority has a temporary problem",
            "try again in a few minutes",
        ),
        _ => return None,
    })
}

/// Returns what to do about an error of which only the code is known, and who has to do it.
pub(super) fn of_error(error: &str) -> (&'static str, Actor) {
    match error {
        "access_denied" => ("sign in again if that was not meant", You),
        "invalid_scope" => ("check the scopes of this server", Owner),
        "invalid_target" => ("check the resource of this server", Owner),
        "unauthorized_client" | "invalid_client" => ("check the client id of this server", Owner),
        "temporarily_unavailable" | "server_error" => ("try again in a moment", Time),
        "invalid_grant"
        | "interaction_required"
        | "login_required"
        | "consent_required"
        | "expired_token" => (AGAIN, You),
        _ => (
            "sign in again; if it fails again, tell the server's administrator",
            You,
        ),
    }
}
