//! Client authentication, as the platform of the app requires it. [`super::assertion`] verifies
//! assertions.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

use crate::app::{App, Platform};
use crate::authority::Authority;
use crate::cloud::Member;
use crate::endpoint::RequestKind;
use crate::entra::Entra;
use crate::fault::Fault;
use crate::fault_injection::Attempt;
use crate::parameters::Parameters;
use crate::scope::ResourceScopes;
use crate::session::Session;
use crate::tenant::Tenant;
use crate::token::assertion::Assertion;
use crate::token_grant::{ClientAuthentication, ClientIdentity};

/// An authenticated client and the requested authority.
pub(crate) struct Client<'e> {
    pub(crate) authority: Authority<'e>,
    pub(crate) app: &'e App,
    authentication: ClientAuthentication,
}

impl<'e> Client<'e> {
    /// Returns the attempt that fault rules check before tokens are issued.
    pub(crate) fn attempt<'s>(
        &self,
        kind: RequestKind,
        requested: &ResourceScopes<'_>,
        session: Option<&'s Session>,
    ) -> Attempt<'s> {
        Attempt {
            kind,
            client: self.app.client_id,
            resources: vec![requested.resource.id()],
            session,
        }
    }

    /// Authenticates the client: Web apps by `client_secret_post`, `client_secret_basic` or
    /// `private_key_jwt`, others by `client_id` alone.
    ///
    /// # Errors
    /// If the client is unknown, its credential is wrong, missing or not allowed, or the platform
    /// does not allow the request's origin.
    pub(crate) fn authenticate(
        entra: &Entra,
        authority: Authority<'e>,
        headers: &HeaderMap,
        parameters: &Parameters,
    ) -> Result<Self, Fault> {
        let presented = PresentedClient::read(headers, parameters)?;
        let app = authority.client(&presented.client_id)?;
        let authentication = match &app.platform {
            Platform::Web { secret } => presented.check(entra, authority, app, secret)?,
            Platform::MobileDesktop | Platform::Spa => presented.check_public()?,
        };
        check_origin(&app.platform, headers)?;
        Ok(Self {
            authority,
            app,
            authentication,
        })
    }

    /// Returns the client's identity for tokens.
    pub(super) fn identity(&self) -> ClientIdentity<'e> {
        ClientIdentity {
            id: self.app.client_id,
            name: &self.app.name,
            authentication: self.authentication,
        }
    }

    /// Checks that the client is confidential, for grants that require it.
    ///
    /// # Errors
    /// If the client is public.
    pub(super) fn check_confidential(&self) -> Result<(), Fault> {
        match self.authentication {
            ClientAuthentication::None => Err(Fault::SecretMissing),
            ClientAuthentication::Secret | ClientAuthentication::Assertion => Ok(()),
        }
    }

    /// Returns the tenant of the authority, for grants without a user who determines the tenant.
    ///
    /// # Errors
    /// If the authority is for several tenants or for personal accounts.
    pub(super) fn organisation_tenant(&self) -> Result<&'e Tenant, Fault> {
        match self.authority.tenant() {
            Some(tenant) if !tenant.is_consumers() => Ok(tenant),
            None if self.authority.segment() == "organizations" => Err(Fault::NoTenant),
            Some(_) | None => Err(Fault::GrantNeedsTenant),
        }
    }

    /// Checks that the user belongs to the authority.
    ///
    /// # Errors
    /// If the user does not.
    pub(crate) fn check_member(&self, member: Member<'_>) -> Result<(), Fault> {
        if self.authority.admits(member.tenant) {
            return Ok(());
        }
        Err(Fault::UserNotInTenant {
            username: member.user.username.clone(),
            tenant: self.authority.display_name().to_owned(),
        })
    }
}

/// Checks `Origin`: single-page apps must send cross-origin requests, other apps must not.
fn check_origin(platform: &Platform, headers: &HeaderMap) -> Result<(), Fault> {
    let origin = headers.get(header::ORIGIN);
    match (platform, origin) {
        (Platform::Spa, None) => Err(Fault::OriginNeeded),
        (Platform::Web { .. } | Platform::MobileDesktop, Some(origin)) => Err(
            Fault::OriginNotAllowed(String::from_utf8_lossy(origin.as_bytes()).into_owned()),
        ),
        (Platform::Spa, Some(_)) | (Platform::Web { .. } | Platform::MobileDesktop, None) => Ok(()),
    }
}

struct PresentedClient {
    client_id: String,
    credential: Credential,
}

enum Credential {
    None,
    Secret(SecretString),
    Assertion(Assertion),
}

impl PresentedClient {
    fn read(headers: &HeaderMap, parameters: &Parameters) -> Result<Self, Fault> {
        let in_body = parameters.owned("client_id");
        if let Some((client_id, secret)) = basic(headers)? {
            if in_body.is_some_and(|other| other != client_id) {
                return Err(Fault::MalformedRequest);
            }
            let credential = Credential::Secret(secret);
            return Ok(Self {
                client_id,
                credential,
            });
        }
        let assertion = Assertion::read(parameters)?;
        let credential = match (parameters.secret("client_secret"), assertion) {
            (Some(secret), _) => Credential::Secret(secret),
            (None, Some(assertion)) => Credential::Assertion(assertion),
            (None, None) => Credential::None,
        };
        Ok(Self {
            client_id: in_body.ok_or(Fault::MissingParameter("client_id"))?,
            credential,
        })
    }

    fn check(
        &self,
        entra: &Entra,
        authority: Authority<'_>,
        app: &App,
        expected: &SecretString,
    ) -> Result<ClientAuthentication, Fault> {
        match &self.credential {
            Credential::None => Err(Fault::SecretMissing),
            Credential::Assertion(assertion) => assertion
                .check(entra, authority, app)
                .map(|()| ClientAuthentication::Assertion),
            Credential::Secret(secret) => {
                let (secret, expected) = (secret.expose_secret(), expected.expose_secret());
                if bool::from(secret.as_bytes().ct_eq(expected.as_bytes())) {
                    Ok(ClientAuthentication::Secret)
                } else {
                    Err(Fault::SecretWrong(app.client_id))
                }
            }
        }
    }

    fn check_public(&self) -> Result<ClientAuthentication, Fault> {
        match self.credential {
            Credential::None => Ok(ClientAuthentication::None),
            Credential::Secret(_) | Credential::Assertion(_) => Err(Fault::SecretFromPublicClient),
        }
    }
}

/// Reads the client id and secret from HTTP Basic authentication. Both are form-encoded inside it
/// (RFC 6749 §2.3.1).
fn basic(headers: &HeaderMap) -> Result<Option<(String, SecretString)>, Fault> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let parse = || {
        let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
        let (id, secret) = decoded.split_once(':')?;
        Some((form_decoded(id), SecretString::from(form_decoded(secret))))
    };
    parse().map(Some).ok_or(Fault::MalformedRequest)
}

fn form_decoded(text: &str) -> String {
    // Decoded as the value of a pair, so that `=` and `&` do not split it.
    let text = text.replace('&', "%26");
    let parameters = model::Parameters::decode(format!("v={text}").as_bytes());
    parameters.first("v").unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use http::{HeaderMap, header};
    use secrecy::ExposeSecret as _;

    use super::basic;

    fn check(credentials: &str, expected: Option<(&str, &str)>) {
        let mut headers = HeaderMap::new();
        let value = format!("Basic {}", STANDARD.encode(credentials));
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        let read = basic(&headers).ok().flatten();
        let read = read
            .as_ref()
            .map(|(id, secret)| (id.as_str(), secret.expose_secret()));
        assert_eq!(read, expected, "{credentials}");
    }

    #[test]
    fn basic_authentication_is_form_decoded() {
        check("id:a~b", Some(("id", "a~b")));
        check("id:a%2Bb%3A", Some(("id", "a+b:")));
        check("id:a&b=c", Some(("id", "a&b=c")));
        check("id:a:b", Some(("id", "a:b")));
        check("nothing", None);
    }
}
