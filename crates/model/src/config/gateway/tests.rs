//! Valid and invalid `gateway.toml` files.

use super::{GatewayConfig, SecretSource, Template, TemplatePart};

const WHOLE: &str = r#"version = 1
public_url = "https://mcp.example.com"
listen = "0.0.0.0:8080"
name = "Example"
root_server = "snippets"

[entra]
authority = "https://login.microsoftonline.com/8f1c6e4e-0000-4000-8000-000000000001/v2.0"
client_id = "11111111-0000-4000-8000-000000000001"
client_secret = "{{entra-client-secret}}"

[secrets.entra-client-secret]
file = "secrets/entra"

[secrets.functions-key]
env = "FUNCTIONS_KEY"

[servers.snippets]
url = "http://10.0.0.5:7071/runtime/webhooks/mcp"
sse_url = "http://10.0.0.5:7071/runtime/webhooks/mcp/sse"
title = "Snippets"
headers = { "x-functions-key" = "{{functions-key}}" }
"#;

#[test]
fn complete_file_is_parsed_and_serialised() {
    let config = GatewayConfig::parse(WHOLE).unwrap();
    assert_eq!(config.public_url.as_str(), "https://mcp.example.com");
    assert_eq!(config.entra.scopes, ["openid", "profile", "offline_access"]);
    assert_eq!(
        config.secrets["functions-key"],
        SecretSource::Env("FUNCTIONS_KEY".to_owned())
    );
    let written = toml::to_string(&config).unwrap();
    assert_eq!(GatewayConfig::parse(&written).unwrap(), config);
}

#[test]
fn error_names_line_and_field() {
    for (from, to, line, field) in [
        ("version = 1", "version = 2", 1, "version"),
        (
            "https://mcp.example.com\"",
            "https://mcp.example.com/\"",
            2,
            "public_url",
        ),
        (
            "https://mcp.example.com\"",
            "http://mcp.example.com\"",
            2,
            "public_url",
        ),
        ("0.0.0.0:8080", "everywhere", 3, "listen"),
        ("name = \"Example\"", "nam = \"Example\"", 4, "nam"),
        ("name = \"Example\"", "name = \" \"", 4, "name"),
        (
            "root_server = \"snippets\"",
            "root_server = \"other\"",
            5,
            "root_server",
        ),
        (
            "8f1c6e4e-0000-4000-8000-000000000001",
            "common",
            8,
            "entra.authority",
        ),
        (
            "8f1c6e4e-0000-4000-8000-000000000001",
            "TENANT",
            8,
            "entra.authority",
        ),
        (
            "8f1c6e4e-0000-4000-8000-000000000001",
            "{tenant-id}",
            8,
            "entra.authority",
        ),
        ("000000000001/v2.0", "000000000001", 8, "entra.authority"),
        (
            "root_server = \"snippets\"",
            "allowed_tenants = [\"nope\"]",
            5,
            "allowed_tenants",
        ),
        (
            "\"{{entra-client-secret}}\"",
            "\"{{other}}\"",
            10,
            "entra.client_secret",
        ),
        (
            "\"{{entra-client-secret}}\"",
            "\"hunter2\"",
            10,
            "entra.client_secret",
        ),
        (
            "file = \"secrets/entra\"",
            "fil = \"secrets/entra\"",
            13,
            "secrets.entra-client-secret.fil",
        ),
        (
            "url = \"http://10.0.0.5:7071/runtime/webhooks/mcp\"",
            "url = \"10.0.0.5\"",
            19,
            "servers.snippets.url",
        ),
        (
            "\"x-functions-key\" =",
            "\"host\" =",
            22,
            "servers.snippets.headers.host",
        ),
        (
            "[servers.snippets]",
            "[servers.Snippets]",
            18,
            "servers.Snippets",
        ),
        ("[servers.snippets]", "[servers.mcp]", 18, "servers.mcp"),
        (
            "root_server = \"snippets\"",
            "[servers.mcp]\nurl = \"http://10.0.0.5/\"",
            5,
            "servers.mcp",
        ),
    ] {
        assert!(WHOLE.contains(from), "{from}");
        let error = GatewayConfig::parse(&WHOLE.replacen(from, to, 1)).unwrap_err();
        assert_eq!(
            (error.line, error.field.as_str()),
            (Some(line), field),
            "{to}: {error}"
        );
    }
}

#[test]
fn invalid_address_error_has_hint() {
    let error = GatewayConfig::parse(&WHOLE.replace("0.0.0.0:8080", "nope")).unwrap_err();
    assert!(error.message.contains("hint: "), "{error}");
}

#[test]
fn multi_tenant_authority_requires_allowed_tenants() {
    for shared in [
        "",
        "common",
        "Common",
        "organizations",
        "ORGANIZATIONS",
        "consumers",
        "9188040d-6c67-4c5b-b112-36a304b66dad",
        "9188040D-6C67-4C5B-B112-36A304B66DAD",
    ] {
        let text = WHOLE.replace("8f1c6e4e-0000-4000-8000-000000000001", shared);
        let error = GatewayConfig::parse(&text).unwrap_err();
        assert_eq!(error.field, "entra.authority", "{shared}");
        let listed = text.replace(
            "root_server",
            "allowed_tenants = [\"8f1c6e4e-0000-4000-8000-000000000001\"]\nroot_server",
        );
        assert!(GatewayConfig::parse(&listed).is_ok(), "{shared}");
    }
}

#[test]
fn public_url_must_be_plain_origin() {
    let with = |url: &str| GatewayConfig::parse(&WHOLE.replace("https://mcp.example.com", url));
    for good in [
        "https://mcp.example.com:8443",
        "http://localhost:4180",
        "http://[::1]:4180",
    ] {
        assert!(with(good).is_ok(), "{good}");
    }
    for bad in [
        "https://mcp.example.com/",
        "https://mcp.example.com/base",
        "https://mcp.example.com?x",
        "https://mcp.example.com:443",
        "https://MCP.example.com",
        "http://localhost:80",
        "https://bücher.example",
    ] {
        assert_eq!(with(bad).unwrap_err().field, "public_url", "{bad}");
    }
}

#[test]
fn error_does_not_contain_secret() {
    let text = WHOLE.replace(
        "env = \"FUNCTIONS_KEY\"",
        "value = \"hunter2\"\nenv = \"X\"",
    );
    assert!(
        !GatewayConfig::parse(&text)
            .unwrap_err()
            .to_string()
            .contains("hunter2")
    );
    let text = WHOLE.replace("env = \"FUNCTIONS_KEY\"", "value = \"hunter2\"");
    assert!(!format!("{:?}", GatewayConfig::parse(&text).unwrap()).contains("hunter2"));
}

#[test]
fn template_is_split_into_literals_and_names() {
    let parts = |text: &str| format!("{:?}", Template::new(text).parts().collect::<Vec<_>>());
    let expected = [
        TemplatePart::Literal("Bearer "),
        TemplatePart::Secret("a"),
        TemplatePart::Secret("b"),
        TemplatePart::Literal(" {{c"),
    ];
    assert_eq!(parts("Bearer {{a}}{{ b }} {{c"), format!("{expected:?}"));
    assert_eq!(parts(""), "[]");
}
