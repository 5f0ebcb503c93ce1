//! Skills of a server (SEP-2640, an extension). Loads a skill only while its files match the list.

use anyhow::{Context as _, Result};
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::session::Session;

/// Lists the skills and reads none of their files.
pub(crate) async fn list(host: &mut Session) -> Result<Vec<Value>> {
    host.list("skills/list", "skills").await
}

/// Loads every skill: first its text, then its other files. Stops at a file that does not match the
/// list.
pub(crate) async fn load(host: &mut Session) -> Result<()> {
    for skill in list(host).await? {
        let files = skill["resources"].as_array().context("no files")?;
        for file in files {
            let text = read(host, &file["uri"]).await?;
            let is_text_of_skill = file["uri"] == skill["uri"];
            if !is_as_listed(&text, file)
                || (is_text_of_skill && !begins_with(&text, &skill["frontmatter"]))
            {
                break;
            }
        }
    }
    Ok(())
}

async fn read(host: &mut Session, uri: &Value) -> Result<String> {
    let result = host
        .request("resources/read", json!({ "uri": uri }))
        .await?;
    let text = result["contents"][0]["text"].as_str();
    Ok(text.context("no text")?.to_owned())
}

fn is_as_listed(text: &str, file: &Value) -> bool {
    let hexadecimal: String = digest(&SHA256, text.as_bytes())
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    file["size"] == text.len() && file["digest"] == format!("sha256:{hexadecimal}")
}

/// Returns true if the frontmatter of a text, one field per line, equals `frontmatter`.
fn begins_with(text: &str, frontmatter: &Value) -> bool {
    let block = text
        .strip_prefix("---\n")
        .and_then(|text| text.split_once("\n---\n"));
    let fields = block.into_iter().flat_map(|(block, _)| block.lines());
    let fields = fields.filter_map(|line| line.split_once(": "));
    let found = fields.map(|(name, value)| (name.to_owned(), value.into()));
    Value::Object(found.collect()) == *frontmatter
}
