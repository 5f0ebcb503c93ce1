//! Sibling modules form no import cycles.
//!
//! For each folder of modules there is a graph: an edge leads from one child module to another if code
//! below the first one names an item that is defined below the second one, by `use` or by a qualified
//! path. Re-exports count as what they lead to. Code under `cfg(test)`, and what a child takes from its
//! parent, does not count.

mod modules;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use modules::Modules;

/// The root files of what is checked.
const ROOTS: &[&str] = &[
    "crates/auth/src/lib.rs",
    "crates/bridge/src/lib.rs",
    "crates/control/src/lib.rs",
    "crates/emulator/src/lib.rs",
    "crates/gateway/src/lib.rs",
    "crates/mcp/src/lib.rs",
    "crates/model/src/lib.rs",
    "crates/postern/src/main.rs",
    "crates/proxies/src/lib.rs",
    "crates/reach/src/lib.rs",
    "crates/snippets/src/lib.rs",
    "crates/texts/src/lib.rs",
    "crates/threads/src/lib.rs",
    "src-tauri/src/main.rs",
    "xtask/src/main.rs",
];

#[test]
fn sibling_modules_form_no_import_cycles() {
    let mut found = String::new();
    for root in ROOTS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(root);
        for (folder, graph) in graphs(&Modules::read(&path)) {
            for cycle in cycles(&graph) {
                found += &format!("{root}, in {folder:?}: {cycle:?}\n");
            }
        }
    }
    assert_eq!(found, "");
}

/// Which child modules of a folder name which others.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// Returns the graph of each folder, by its path within the crate.
fn graphs(modules: &Modules) -> BTreeMap<String, Graph> {
    let mut graphs = BTreeMap::<String, Graph>::new();
    for (from, to) in modules.references() {
        let common = from.iter().zip(&to).take_while(|(one, other)| one == other);
        let depth = common.count();
        if let (Some(one), Some(other)) = (from.get(depth), to.get(depth)) {
            let graph = graphs.entry(from[..depth].join("::")).or_default();
            graph.entry(one.clone()).or_default().insert(other.clone());
        }
    }
    graphs
}

/// Returns the sets of modules of which each reaches each.
fn cycles(graph: &Graph) -> BTreeSet<BTreeSet<String>> {
    let reached: BTreeMap<_, _> = graph.keys().map(|one| (one, reach(graph, one))).collect();
    let on_cycle = reached
        .iter()
        .filter(|(one, reached)| reached.contains(**one));
    on_cycle
        .map(|(one, of_one)| {
            let others = of_one.iter().filter(|other| {
                let back = reached.get(other);
                back.is_some_and(|back| back.contains(*one))
            });
            others.cloned().collect()
        })
        .collect()
}

fn reach(graph: &Graph, from: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from.to_owned()];
    while let Some(one) = open.pop() {
        for other in graph.get(&one).into_iter().flatten() {
            if reached.insert(other.clone()) {
                open.push(other.clone());
            }
        }
    }
    reached
}

/// Folders of a crate with a cycle in it, read from files like those of a real crate.
#[test]
fn import_cycles_are_found_through_reexports_and_not_in_tests() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    };
    write(
        "lib.rs",
        "mod a; mod b; mod c; mod d; pub use a::A; pub struct Own;",
    );
    write(
        "a.rs",
        "mod inner; pub struct A(crate::b::B); use super::Own;",
    );
    write(
        "a/inner.rs",
        "use crate::c::*; fn f() { let _ = Later::new(); }",
    );
    write(
        "b.rs",
        "pub struct B; fn f() { println!(\"{:?}\", crate::A); }",
    );
    write(
        "c.rs",
        "pub struct Later; #[cfg(test)] mod tests { use crate::a::A; }",
    );
    write(
        "d.rs",
        "use crate::{a::A, b::B}; #[cfg(test)] use crate::c::Later;",
    );
    let modules = Modules::read(&folder.path().join("lib.rs"));
    let found: Vec<_> = graphs(&modules)
        .into_iter()
        .flat_map(|(folder, graph)| {
            cycles(&graph)
                .into_iter()
                .map(move |one| (folder.clone(), one))
        })
        .collect();
    let expected = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
    assert_eq!(found, [(String::new(), expected)]);
    let graph = &graphs(&modules)[""];
    assert_eq!(graph["a"], BTreeSet::from(["b".to_owned(), "c".to_owned()]));
    assert_eq!(graph["d"], BTreeSet::from(["a".to_owned(), "b".to_owned()]));
}
