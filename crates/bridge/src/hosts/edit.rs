//! Adds, finds and removes our entry in the text of a host's file. No I/O.

use jsonc_parser::ast::{Object, ObjectProp, Value};
use jsonc_parser::common::{Range, Ranged as _};

use crate::hosts::document::{ContentError, ContentProblem, Document, SERVERS};
use crate::hosts::layout::{self, Json, Splice, Style};
use crate::hosts::mcp_remote::LaunchEntry;

const BYTE_ORDER_MARK: char = '\u{feff}';

/// An entry of a host's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub name: String,
    /// The command, if it is a string.
    pub command: Option<String>,
    /// The arguments that are strings.
    pub args: Vec<String>,
    /// Whether it is ours: its command is `postern` and its first argument `connect`.
    pub ours: bool,
}

/// An entry as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) name: String,
    pub(super) command: String,
    pub(super) args: Vec<String>,
}

impl Server {
    pub(super) fn is_ours(&self) -> bool {
        is_ours(&self.command, &self.args)
    }

    fn json(&self) -> Json {
        Json::Object(vec![
            ("command".to_owned(), Json::Text(self.command.clone())),
            ("args".to_owned(), Json::List(self.args.clone())),
        ])
    }
}

fn is_ours(command: &str, args: &[String]) -> bool {
    let program = command.rsplit(['/', '\\']).next().unwrap_or_default();
    let program = program.to_ascii_lowercase();
    matches!(program.as_str(), "postern" | "postern.exe")
        && args.first().is_some_and(|first| first == "connect")
}

/// The result of adding an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Edited {
    Added(String),
    Updated(String),
    Unchanged,
}

/// Adds the entry to the text of a file. `None` stands for a missing file.
pub(super) fn add(text: Option<&str>, server: &Server) -> Result<Edited, ContentError> {
    let (mark, text) = unmarked(text.unwrap_or_default());
    let document = Document::parse(text)?;
    let marked = |text: String| format!("{mark}{text}");
    let Some(root) = &document.root else {
        let text = layout::whole(&document, SERVERS, servers_object(server));
        return Ok(Edited::Added(marked(text)));
    };
    let splices = match document.servers()? {
        None => layout::insert(&document, root, SERVERS, &servers_object(server)),
        Some(servers) => match document.only(servers, &server.name)? {
            None => layout::insert(&document, servers, &server.name, &server.json()),
            Some(there) => return update(&document, there, server, marked),
        },
    };
    Ok(Edited::Added(marked(layout::spliced(text, &splices))))
}

fn servers_object(server: &Server) -> Json {
    Json::Object(vec![(server.name.clone(), server.json())])
}

/// Updates the command and arguments of our entry. Keeps its other properties.
fn update(
    document: &Document<'_>,
    there: &ObjectProp<'_>,
    server: &Server,
    marked: impl Fn(String) -> String,
) -> Result<Edited, ContentError> {
    let (listed, object) = ours(document, there)?;
    let style = Style::detect(document);
    let mut splices = Vec::new();
    let mut replace = |key: &str, json: &Json| {
        if let Some(property) = object.get(key) {
            splices.push(Splice::replace(
                property.value.range(),
                style.value(json, None),
            ));
        }
    };
    if listed.command != server.command {
        replace("command", &Json::Text(server.command.clone()));
    }
    let args = object
        .get_array("args")
        .map_or(0, |args| args.elements.len());
    if listed.args != server.args || args != server.args.len() {
        replace("args", &Json::List(server.args.clone()));
    }
    if splices.is_empty() {
        return Ok(Edited::Unchanged);
    }
    splices.sort_by_key(Splice::start);
    Ok(Edited::Updated(marked(layout::spliced(
        document.text,
        &splices,
    ))))
}

/// The result of removing an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Undone {
    NotThere,
    Left(String),
    NothingLeft,
}

/// Removes our entry `name`. `earlier` are previous texts of the file, newest first.
///
/// If adding the entry to an earlier text gives the current one, returns that text. Otherwise the
/// file has other changes, and only the entry is cut out.
pub(super) fn undo(text: &str, name: &str, earlier: &[String]) -> Result<Undone, ContentError> {
    let Some(server) = find(text, name)? else {
        return Ok(Undone::NotThere);
    };
    let now = Edited::Added(text.to_owned());
    let without: Vec<&String> = earlier
        .iter()
        .filter(|text| matches!(find(text, name), Ok(None)))
        .collect();
    if let Some(before) = without
        .iter()
        .find(|before| add(Some(before), &server).as_ref() == Ok(&now))
    {
        return Ok(Undone::Left((*before).clone()));
    }
    if add(None, &server)? == now {
        return Ok(Undone::NothingLeft);
    }
    let before = without.first().map(|before| before.as_str());
    cut(text, name, before)
}

/// Cuts the entry out. Also removes an empty `mcpServers` that was not there `before`, and the
/// whole file if nothing is left and it was not there `before`.
fn cut(text: &str, name: &str, before: Option<&str>) -> Result<Undone, ContentError> {
    let (mark, text) = unmarked(text);
    let document = Document::parse(text)?;
    let (Some(root), Some(servers)) = (&document.root, document.servers()?) else {
        return Ok(Undone::NotThere);
    };
    let without_comments = |range| !document.has_comment(range);
    let all_of_servers = servers.properties.len() == 1
        && root
            .get(SERVERS)
            .is_some_and(|property| without_comments(property.range));
    let servers_are_new = !before.is_some_and(has_servers);
    let (object, name) = if all_of_servers && servers_are_new {
        (root, SERVERS)
    } else {
        (servers, name)
    };
    let all_of_file = object.range == root.range && root.properties.len() == 1;
    let whole_text = Range::new(0, text.len());
    if all_of_file && before.is_none() && without_comments(whole_text) {
        return Ok(Undone::NothingLeft);
    }
    let Some(index) = object
        .properties
        .iter()
        .position(|property| property.name.as_str() == name)
    else {
        return Ok(Undone::NotThere);
    };
    let splices = layout::remove(&document, object, index);
    Ok(Undone::Left(format!(
        "{mark}{}",
        layout::spliced(text, &splices)
    )))
}

fn has_servers(text: &str) -> bool {
    Document::parse(unmarked(text).1)
        .and_then(|document| document.servers().map(|servers| servers.is_some()))
        .unwrap_or(false)
}

/// Returns our entry of that name. Fails if the entry is not ours.
fn find(text: &str, name: &str) -> Result<Option<Server>, ContentError> {
    let document = Document::parse(unmarked(text).1)?;
    let Some(servers) = document.servers()? else {
        return Ok(None);
    };
    let there = document.only(servers, name)?;
    there
        .map(|there| ours(&document, there).map(|(server, _)| server))
        .transpose()
}

/// Returns the entries in the order of the text.
pub(super) fn list(text: &str) -> Result<Vec<Listed>, ContentError> {
    let document = Document::parse(unmarked(text).1)?;
    let servers = document.servers()?;
    let properties = servers
        .map(|servers| servers.properties.as_slice())
        .unwrap_or_default();
    Ok(properties.iter().map(listed).collect())
}

/// Returns the entries that start other programs, in the order of the text.
pub(super) fn launch_entries(text: &str) -> Result<Vec<LaunchEntry>, ContentError> {
    let document = Document::parse(unmarked(text).1)?;
    let properties = document
        .servers()?
        .map(|servers| servers.properties.as_slice())
        .unwrap_or_default();
    let mut entries = Vec::new();
    for property in properties {
        let Listed {
            name,
            command: Some(command),
            args,
            ours: false,
        } = listed(property)
        else {
            continue;
        };
        let object = property.value.as_object();
        let env = object.and_then(|object| object.get("env")?.value.as_object());
        let env = env.into_iter().flat_map(|env| &env.properties);
        entries.push(LaunchEntry {
            name,
            command,
            args,
            env: env
                .filter_map(|variable| {
                    Some((variable.name.as_str().to_owned(), text_of(&variable.value)?))
                })
                .collect(),
        });
    }
    Ok(entries)
}

/// Makes each of those entries ours. Removes `env`, which was for the old program. Keeps all other
/// properties.
pub(super) fn take_over(text: &str, servers: &[Server]) -> Result<String, ContentError> {
    let (mark, text) = unmarked(text);
    let document = Document::parse(text)?;
    let Some(there) = document.servers()? else {
        return Ok(format!("{mark}{text}"));
    };
    let style = Style::detect(&document);
    let mut splices = Vec::new();
    for server in servers {
        let Some(Value::Object(object)) = document
            .only(there, &server.name)?
            .map(|entry| &entry.value)
        else {
            continue;
        };
        let values = [
            ("command", Json::Text(server.command.clone())),
            ("args", Json::List(server.args.clone())),
        ];
        for (key, json) in values {
            if let Some(property) = document.only(object, key)? {
                let range = property.value.range();
                splices.push(Splice::replace(range, style.value(&json, None)));
            }
        }
        if let Some(env) = document.only(object, "env")? {
            let index = object
                .properties
                .iter()
                .position(|property| property.range == env.range);
            splices.extend(
                index
                    .map(|index| layout::remove(&document, object, index))
                    .unwrap_or_default(),
            );
        }
    }
    splices.sort_by_key(Splice::start);
    Ok(format!("{mark}{}", layout::spliced(text, &splices)))
}

pub(super) fn listed(property: &ObjectProp<'_>) -> Listed {
    let object = property.value.as_object();
    let command = object.and_then(|object| text_of(&object.get("command")?.value));
    let args: Vec<String> = object
        .and_then(|object| object.get("args")?.value.as_array())
        .map(|args| args.elements.iter().filter_map(text_of).collect())
        .unwrap_or_default();
    let ours = command
        .as_deref()
        .is_some_and(|command| is_ours(command, &args));
    Listed {
        name: property.name.as_str().to_owned(),
        command,
        args,
        ours,
    }
}

fn ours<'o, 'a>(
    document: &Document<'a>,
    property: &'o ObjectProp<'a>,
) -> Result<(Server, &'o Object<'a>), ContentError> {
    match (listed(property), &property.value) {
        (
            Listed {
                name,
                command: Some(command),
                args,
                ours: true,
            },
            Value::Object(object),
        ) => {
            for key in ["command", "args"] {
                document.only(object, key)?;
            }
            Ok((
                Server {
                    name,
                    command,
                    args,
                },
                object,
            ))
        }
        (Listed { name, .. }, _) => {
            Err(document.content_error(property.range.start, ContentProblem::NotOurs(name)))
        }
    }
}

fn text_of(value: &Value<'_>) -> Option<String> {
    Some(value.as_string_lit()?.value.clone().into_owned())
}

/// Splits the text into the byte order mark, if any, and the rest.
pub(super) fn unmarked(text: &str) -> (&str, &str) {
    let rest = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    text.split_at(text.len() - rest.len())
}
