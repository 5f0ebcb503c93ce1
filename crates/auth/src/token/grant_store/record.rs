//! The content of records. The only place that writes secrets to be stored.

use std::borrow::Cow;

use model::{EndpointUrl, Issuer, Resource, SecretName};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::account::{Account, AccountKey};
use crate::approval::{Pin, PinKey, PinnedAudience};
use crate::http::NetworkZone;
use crate::registration::{Client, ClientOrigin, Registration, TokenEndpointAuth};
use crate::secret::{AccessToken, ClientSecret, RefreshToken, StoredSecret};
use crate::target::TargetKey;
use crate::token::{Endpoints, Grant, GrantKey, ObtainedBy, Tokens};
use crate::vault::Plain;

/// Large enough that the buffer never grows. Growing would leave a copy of its content behind.
const RECORD_CAPACITY: usize = 64 * 1024;

#[derive(Serialize, Deserialize)]
struct GrantRecord<'a> {
    issuer: Cow<'a, Issuer>,
    client: ClientRecord<'a>,
    audience: Cow<'a, str>,
    targets: Vec<Cow<'a, str>>,
    account: AccountRecord<'a>,
    resource: Option<Cow<'a, Resource>>,
    asked: Cow<'a, [String]>,
    repeated: Cow<'a, [String]>,
    token_endpoint: Cow<'a, EndpointUrl>,
    revocation_endpoint: Option<Cow<'a, EndpointUrl>>,
    end_session_endpoint: Option<Cow<'a, EndpointUrl>>,
    consents_endpoint: Option<Cow<'a, EndpointUrl>>,
    #[serde(default)]
    named_from: ZoneRecord,
    access: Cow<'a, str>,
    refresh: Option<Cow<'a, str>>,
    obtained_at: u64,
    expires_at: Option<u64>,
    refresh_at: Option<u64>,
    scopes: Option<Cow<'a, [String]>>,
    #[serde(default)]
    obtained_by: ObtainedByRecord,
}

#[derive(Serialize, Deserialize)]
struct SecretRecord<'a> {
    name: Cow<'a, SecretName>,
    value: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct PinRecord<'a> {
    server: Cow<'a, str>,
    issuer: Cow<'a, Issuer>,
    client_id: Cow<'a, str>,
    resource: Option<Cow<'a, Resource>>,
    audience: Option<PinnedAudienceRecord<'a>>,
}

#[derive(Serialize, Deserialize)]
struct PinnedAudienceRecord<'a> {
    audience: Cow<'a, str>,
    resource: Cow<'a, Resource>,
}

#[derive(Serialize, Deserialize)]
struct AccountRecord<'a> {
    issuer: Cow<'a, Issuer>,
    subject: Cow<'a, str>,
    name: Option<Cow<'a, str>>,
    username: Option<Cow<'a, str>>,
    tenant: Option<Cow<'a, str>>,
    object_id: Option<Cow<'a, str>>,
}

#[derive(Serialize, Deserialize)]
struct ClientRecord<'a> {
    id: Cow<'a, str>,
    proof: ProofRecord<'a>,
    registered: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ProofRecord<'a> {
    None,
    Basic(Cow<'a, str>),
    Post(Cow<'a, str>),
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ZoneRecord {
    /// Also if the record has no such member.
    #[default]
    #[serde(rename = "inside")]
    Local,
    #[serde(rename = "outside")]
    Public,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ObtainedByRecord {
    /// Also if the record has no such member.
    #[default]
    Browser,
    DeviceCode,
}

#[derive(Serialize, Deserialize)]
struct RegistrationRecord<'a> {
    issuer: Cow<'a, Issuer>,
    client: ClientRecord<'a>,
    port: u16,
    expires_at: Option<u64>,
}

pub(super) fn from_grant(grant: &Grant) -> Plain {
    let Tokens {
        access,
        refresh,
        obtained_at,
        expires_at,
        refresh_at,
        scopes,
    } = &grant.tokens;
    serialized(&GrantRecord {
        issuer: Cow::Borrowed(&grant.key.issuer),
        client: from_client(&grant.client),
        audience: (&*grant.key.audience).into(),
        targets: grant
            .targets
            .iter()
            .map(|key| key.as_str().into())
            .collect(),
        account: from_account(&grant.account),
        resource: grant.resource.as_ref().map(Cow::Borrowed),
        asked: (&*grant.asked).into(),
        repeated: (&*grant.repeated).into(),
        token_endpoint: Cow::Borrowed(&grant.endpoints.token),
        revocation_endpoint: grant.endpoints.revocation.as_ref().map(Cow::Borrowed),
        end_session_endpoint: grant.endpoints.end_session.as_ref().map(Cow::Borrowed),
        consents_endpoint: grant.endpoints.consents.as_ref().map(Cow::Borrowed),
        named_from: match grant.endpoints.zone {
            NetworkZone::Local => ZoneRecord::Local,
            NetworkZone::Public => ZoneRecord::Public,
        },
        access: access.expose().into(),
        refresh: refresh.as_ref().map(|token| token.expose().into()),
        obtained_at: *obtained_at,
        expires_at: *expires_at,
        refresh_at: *refresh_at,
        scopes: scopes.as_deref().map(Cow::Borrowed),
        obtained_by: match grant.obtained_by {
            ObtainedBy::Browser => ObtainedByRecord::Browser,
            ObtainedBy::DeviceCode => ObtainedByRecord::DeviceCode,
        },
    })
}

pub(super) fn to_grant(plain: &Plain) -> Option<Grant> {
    let record: GrantRecord<'_> = serde_json::from_slice(plain).ok()?;
    let client = to_client(record.client);
    Some(Grant {
        key: GrantKey {
            issuer: record.issuer.into_owned(),
            client_id: client.id.clone(),
            audience: record.audience.into_owned(),
            subject: record.account.subject.clone().into_owned(),
        },
        targets: record
            .targets
            .iter()
            .map(|text| TargetKey::from_record(text))
            .collect(),
        account: to_account(record.account),
        client,
        resource: record.resource.map(Cow::into_owned),
        asked: record.asked.into_owned(),
        repeated: record.repeated.into_owned(),
        endpoints: Endpoints {
            token: record.token_endpoint.into_owned(),
            revocation: record.revocation_endpoint.map(Cow::into_owned),
            end_session: record.end_session_endpoint.map(Cow::into_owned),
            consents: record.consents_endpoint.map(Cow::into_owned),
            zone: match record.named_from {
                ZoneRecord::Local => NetworkZone::Local,
                ZoneRecord::Public => NetworkZone::Public,
            },
        },
        tokens: Tokens {
            access: AccessToken::new(record.access),
            refresh: record.refresh.map(RefreshToken::new),
            obtained_at: record.obtained_at,
            expires_at: record.expires_at,
            refresh_at: record.refresh_at,
            scopes: record.scopes.map(Cow::into_owned),
        },
        obtained_by: match record.obtained_by {
            ObtainedByRecord::Browser => ObtainedBy::Browser,
            ObtainedByRecord::DeviceCode => ObtainedBy::DeviceCode,
        },
    })
}

pub(super) fn from_registration(registration: &Registration) -> Plain {
    serialized(&RegistrationRecord {
        issuer: Cow::Borrowed(&registration.issuer),
        client: from_client(&registration.client),
        port: registration.port,
        expires_at: registration.expires_at,
    })
}

pub(super) fn to_registration(plain: &Plain) -> Option<Registration> {
    let record: RegistrationRecord<'_> = serde_json::from_slice(plain).ok()?;
    Some(Registration {
        issuer: record.issuer.into_owned(),
        client: to_client(record.client),
        port: record.port,
        expires_at: record.expires_at,
    })
}

pub(super) fn from_secret(name: &SecretName, secret: &StoredSecret) -> Plain {
    serialized(&SecretRecord {
        name: Cow::Borrowed(name),
        value: secret.expose().into(),
    })
}

pub(super) fn to_secret(plain: &Plain) -> Option<(SecretName, StoredSecret)> {
    let record: SecretRecord<'_> = serde_json::from_slice(plain).ok()?;
    let value = StoredSecret::new(record.value);
    Some((record.name.into_owned(), value))
}

pub(super) fn from_pin(pin: &Pin) -> Plain {
    let PinKey {
        server,
        issuer,
        client_id,
    } = &pin.key;
    serialized(&PinRecord {
        server: (&**server).into(),
        issuer: Cow::Borrowed(issuer),
        client_id: (&**client_id).into(),
        resource: pin.resource.as_ref().map(Cow::Borrowed),
        audience: pin.audience.as_ref().map(|pinned| PinnedAudienceRecord {
            audience: (&*pinned.audience).into(),
            resource: Cow::Borrowed(&pinned.resource),
        }),
    })
}

pub(super) fn to_pin(plain: &Plain) -> Option<Pin> {
    let record: PinRecord<'_> = serde_json::from_slice(plain).ok()?;
    Some(Pin {
        key: PinKey {
            server: record.server.into_owned(),
            issuer: record.issuer.into_owned(),
            client_id: record.client_id.into_owned(),
        },
        resource: record.resource.map(Cow::into_owned),
        audience: record.audience.map(|pinned| PinnedAudience {
            audience: pinned.audience.into_owned(),
            resource: pinned.resource.into_owned(),
        }),
    })
}

fn from_account(account: &Account) -> AccountRecord<'_> {
    fn text(text: &Option<String>) -> Option<Cow<'_, str>> {
        text.as_deref().map(Cow::Borrowed)
    }
    AccountRecord {
        issuer: Cow::Borrowed(&account.key.issuer),
        subject: (&*account.key.subject).into(),
        name: text(&account.name),
        username: text(&account.username),
        tenant: text(&account.tenant),
        object_id: text(&account.object_id),
    }
}

fn to_account(record: AccountRecord<'_>) -> Account {
    Account {
        key: AccountKey {
            issuer: record.issuer.into_owned(),
            subject: record.subject.into_owned(),
        },
        name: record.name.map(Cow::into_owned),
        username: record.username.map(Cow::into_owned),
        tenant: record.tenant.map(Cow::into_owned),
        object_id: record.object_id.map(Cow::into_owned),
    }
}

fn from_client(client: &Client) -> ClientRecord<'_> {
    ClientRecord {
        id: (&*client.id).into(),
        proof: match &client.auth {
            TokenEndpointAuth::None => ProofRecord::None,
            TokenEndpointAuth::Basic(secret) => ProofRecord::Basic(secret.expose().into()),
            TokenEndpointAuth::Post(secret) => ProofRecord::Post(secret.expose().into()),
        },
        registered: client.is_registered(),
    }
}

fn to_client(record: ClientRecord<'_>) -> Client {
    Client {
        id: record.id.into_owned(),
        auth: match record.proof {
            ProofRecord::None => TokenEndpointAuth::None,
            ProofRecord::Basic(secret) => TokenEndpointAuth::Basic(ClientSecret::new(secret)),
            ProofRecord::Post(secret) => TokenEndpointAuth::Post(ClientSecret::new(secret)),
        },
        origin: if record.registered {
            ClientOrigin::Registered
        } else {
            ClientOrigin::Configured
        },
    }
}

fn serialized(record: &impl Serialize) -> Plain {
    let mut bytes = Zeroizing::new(Vec::with_capacity(RECORD_CAPACITY));
    serde_json::to_writer(&mut *bytes, record).expect("strings and numbers always become JSON");
    bytes
}
