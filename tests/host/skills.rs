//! Skills of a server (SEP-2640, an extension): listed, and loaded only as far as every file is
//! what the list says it is.

use anyhow::{Context as _, Result};
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::session::Conversation;

/// Lists the skills, and reads nothing of them.
pub(crate) async fn list(host: &mut Conversation) -> Result<Vec<Value>> {
    host.list("skills/list", "skills").await
}

/// Loads every skill: its text first, then what belongs to it. A file that is not what it should
/// be ends that.
pub(crate) async fn load(host: &mut Conversation) -> Result<()> {
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

async fn read(host: &mut Conversation, uri: &Value) -> Result<String> {
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

/// Whether the frontmatter of a text, one field a line, is this.
fn begins_with(text: &str, frontmatter: &Value) -> bool {
    let block = text
        .strip_prefix("---\n")
        .and_then(|text| text.split_once("\n---\n"));
    let fields = block.into_iter().flat_map(|(block, _)| block.lines());
    let fields = fields.filter_map(|line| line.split_once(": "));
    let found = fields.map(|(name, value)| (name.to_owned(), value.into()));
    Value::Object(found.collect()) == *frontmatter
}
