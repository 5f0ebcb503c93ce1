//! Converts an `emulator.toml` (see [`model::config::emulator`]) into tenants.

use std::path::Path;

use anyhow::Context as _;
use model::config::emulator::{
    AppConfig, AppRoleConfig, Audience, EmulatorConfig, FederatedCredentialConfig, Guid,
    ManagedIdentityConfig, PlatformName, TenantConfig, UserConfig,
};
use secrecy::SecretString;
use uuid::Uuid;

use crate::app::{AccessTokenVersion, App, AppRole, Platform, SignInAudience};
use crate::credential::{Certificate, FederatedCredential};
use crate::tenant::{ManagedIdentity, Tenant, User};

/// Returns the first tenant of `config` and the others. Paths are relative to the folder `base`.
///
/// # Errors
/// If `config` has no tenant, an app has a secret but must not or lacks one, or a certificate
/// cannot be read. The error names the app.
pub fn tenants(config: &EmulatorConfig, base: &Path) -> anyhow::Result<(Tenant, Vec<Tenant>)> {
    let tenants = config.tenants.iter().map(|one| tenant(one, base));
    let mut tenants = tenants.collect::<anyhow::Result<Vec<_>>>()?.into_iter();
    let first = tenants.next();
    let first = first.context("the configuration has no tenant; hint: add a [[tenants]] table")?;
    Ok((first, tenants.collect()))
}

fn tenant(config: &TenantConfig, base: &Path) -> anyhow::Result<Tenant> {
    let app = |config: &AppConfig| {
        app(config, base).with_context(|| format!("the app {:?}", config.name))
    };
    Ok(Tenant {
        id: uuid(&config.id)?,
        name: config.name.clone(),
        users: config.users.iter().map(user).collect::<Result<_, _>>()?,
        apps: config.apps.iter().map(app).collect::<Result<_, _>>()?,
        managed_identities: config
            .managed_identities
            .iter()
            .map(managed_identity)
            .collect::<Result<_, _>>()?,
    })
}

fn user(config: &UserConfig) -> anyhow::Result<User> {
    Ok(User {
        object_id: uuid(&config.object_id)?,
        username: config.username.clone(),
        name: config.name.clone(),
    })
}

fn app(config: &AppConfig, base: &Path) -> anyhow::Result<App> {
    let certificate = |file: &std::path::PathBuf| certificate(&base.join(file));
    let certificates = config.certificates.iter().map(certificate);
    let roles = config.app_roles.iter().map(app_role);
    let trusted = config.federated_credentials.iter();
    Ok(App {
        sign_in_audience: audience(config.sign_in_audience),
        redirect_uris: config.redirect_uris.clone(),
        app_id_uris: config.app_id_uris.clone(),
        scopes: config.scopes.clone(),
        app_roles: roles.collect::<Result<_, _>>()?,
        access_token_version: access_token_version(config.access_token_version)?,
        certificates: certificates.collect::<Result<_, _>>()?,
        federated_credentials: trusted
            .map(federated_credential)
            .collect::<Result<_, _>>()?,
        ..App::new(uuid(&config.client_id)?, &config.name, platform(config)?)
    })
}

fn platform(config: &AppConfig) -> anyhow::Result<Platform> {
    match (config.platform, &config.secret) {
        (PlatformName::Web, Some(secret)) => Ok(Platform::Web {
            secret: SecretString::from(secret.expose()),
        }),
        (PlatformName::Web, None) => {
            anyhow::bail!("an app of the platform `web` needs a secret; hint: add `secret = \"…\"`")
        }
        (PlatformName::MobileDesktop, None) => Ok(Platform::MobileDesktop),
        (PlatformName::Spa, None) => Ok(Platform::Spa),
        (PlatformName::MobileDesktop | PlatformName::Spa, Some(_)) => {
            anyhow::bail!(
                "a public client must not have a secret; hint: remove it, or set the platform to `web`"
            )
        }
    }
}

fn audience(config: Audience) -> SignInAudience {
    match config {
        Audience::MyOrg => SignInAudience::MyOrg,
        Audience::MultipleOrgs => SignInAudience::MultipleOrgs,
        Audience::OrgsAndPersonal => SignInAudience::OrgsAndPersonal,
        Audience::Personal => SignInAudience::Personal,
    }
}

fn access_token_version(config: u8) -> anyhow::Result<AccessTokenVersion> {
    match config {
        1 => Ok(AccessTokenVersion::V1),
        2 => Ok(AccessTokenVersion::V2),
        other => anyhow::bail!("`access_token_version` is {other}; hint: use 1 or 2"),
    }
}

fn app_role(config: &AppRoleConfig) -> anyhow::Result<AppRole> {
    Ok(AppRole {
        value: config.value.clone(),
        granted_to: config
            .granted_to
            .iter()
            .map(uuid)
            .collect::<Result<_, _>>()?,
    })
}

fn federated_credential(config: &FederatedCredentialConfig) -> anyhow::Result<FederatedCredential> {
    let audience = config.audience.as_deref();
    Ok(FederatedCredential {
        issuer: uuid(&config.issuer)?,
        subject: config.subject.clone(),
        audience: audience.unwrap_or(FederatedCredential::AUDIENCE).to_owned(),
    })
}

fn managed_identity(config: &ManagedIdentityConfig) -> anyhow::Result<ManagedIdentity> {
    Ok(ManagedIdentity {
        object_id: uuid(&config.object_id)?,
        client_id: uuid(&config.client_id)?,
        name: config.name.clone(),
    })
}

fn certificate(file: &Path) -> anyhow::Result<Certificate> {
    let shown = || format!("the certificate in {} cannot be used", file.display());
    let pem = std::fs::read(file).with_context(shown)?;
    Certificate::from_pem(&pem).with_context(shown)
}

fn uuid(id: &Guid) -> anyhow::Result<Uuid> {
    Ok(id.as_str().parse()?)
}
