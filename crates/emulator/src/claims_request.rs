//! The `claims` parameter, as far as Entra evaluates it: the capabilities of the client,
//! `{"access_token":{"xms_cc":{"values":["cp1"]}}}` (OpenID Connect Core 1.0 §5.5).

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::parameters::Parameters;

/// The capability to handle claims challenges (continuous access evaluation).
const CHALLENGES: &str = "cp1";

/// The claims that a client requests for its tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClaimsRequest {
    capabilities: Vec<String>,
}

#[derive(Deserialize)]
struct Parameter {
    #[serde(default)]
    access_token: AccessToken,
}

#[derive(Default, Deserialize)]
struct AccessToken {
    #[serde(default)]
    xms_cc: Option<Values>,
}

#[derive(Deserialize)]
struct Values {
    #[serde(default)]
    values: Vec<String>,
}

impl ClaimsRequest {
    /// Reads the parameter.
    ///
    /// # Errors
    /// If it is present but not a JSON object of the expected form.
    pub(crate) fn read(parameters: &Parameters) -> Result<Self, Fault> {
        let Some(text) = parameters.optional("claims") else {
            return Ok(Self::default());
        };
        let parameter: Parameter =
            serde_json::from_str(text).map_err(|_| Fault::MalformedClaims)?;
        let wanted = parameter.access_token.xms_cc;
        Ok(Self {
            capabilities: wanted.map(|wanted| wanted.values).unwrap_or_default(),
        })
    }

    /// Returns the union of both requests.
    pub(crate) fn union(mut self, other: Self) -> Self {
        for capability in other.capabilities {
            if !self.capabilities.contains(&capability) {
                self.capabilities.push(capability);
            }
        }
        self
    }

    /// Returns the `xms_cc` claim of access tokens.
    pub(crate) fn capabilities(&self) -> &[String] {
        &self.capabilities
    }

    /// Returns whether tokens may be long-lived, because the resource can challenge them.
    pub(crate) fn handles_challenges(&self) -> bool {
        self.capabilities.iter().any(|one| one == CHALLENGES)
    }
}

#[cfg(test)]
mod tests {
    use super::ClaimsRequest;
    use crate::fault::Fault;
    use crate::parameters::Parameters;

    fn check(claims: &str, expected: Result<&[&str], Fault>) {
        let encoded = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("claims", claims)
            .finish();
        let parameters = Parameters::parse(encoded.as_bytes()).unwrap();
        let read = ClaimsRequest::read(&parameters);
        let read = read.map(|request| request.capabilities().to_vec());
        let expected = expected.map(|all| all.iter().map(|one| (*one).to_owned()).collect());
        assert_eq!(read, expected, "{claims}");
    }

    #[test]
    fn claims_parameter_yields_capabilities() {
        check("", Ok(&[]));
        check("{}", Ok(&[]));
        check(
            r#"{"access_token":{"xms_cc":{"values":["cp1"]},"nbf":{"essential":true,"value":"1"}}}"#,
            Ok(&["cp1"]),
        );
        check(r#"{"id_token":{"auth_time":{"essential":true}}}"#, Ok(&[]));
        check(r#"{"access_token":{"acrs":null,"xms_cc":null}}"#, Ok(&[]));
        check("cp1", Err(Fault::MalformedClaims));
        check(r#"{"access_token":7}"#, Err(Fault::MalformedClaims));
    }
}
