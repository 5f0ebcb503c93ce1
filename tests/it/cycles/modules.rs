//! The modules of a crate, and which items each of them names.
//!
//! Owns: finding the files, and resolving paths within the crate. Does not own: types and traits;
//! a method call names nothing here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::visit::{self, Visit};

/// A path within the crate, without `crate`.
type ModulePath = Vec<String>;

/// How many re-exports lead to one another at most.
const MAX_REEXPORTS: usize = 20;

/// The modules of a crate.
#[derive(Default)]
pub(super) struct Modules(BTreeMap<ModulePath, Module>);

#[derive(Default)]
struct Module {
    /// The items that it defines.
    items: BTreeSet<String>,
    /// What its imports make visible, and from where.
    imports: Vec<(String, Vec<String>)>,
    /// The modules of which it imports all.
    globs: Vec<Vec<String>>,
    /// Every path that it names.
    named: BTreeSet<Vec<String>>,
}

impl Modules {
    /// Reads a crate from its root file.
    pub(super) fn read(root: &Path) -> Self {
        let mut modules = Self::default();
        let folder = root.parent().expect("a file is in a folder");
        modules.read_file(root, folder, folder, Vec::new());
        modules
    }

    /// Returns for each path that a module names: that module, and the one that defines what is named.
    pub(super) fn references(&self) -> Vec<(&ModulePath, ModulePath)> {
        let named = |module: &'_ Module| module.named.iter().cloned().collect::<Vec<_>>();
        let each = self.0.iter();
        each.flat_map(|(from, module)| named(module).into_iter().map(move |path| (from, path)))
            .filter_map(|(from, path)| Some((from, self.resolve(from, &path, 0)?)))
            .collect()
    }

    /// `folder` is where the file lies, `children` where those of its modules do.
    fn read_file(&mut self, file: &Path, folder: &Path, children: &Path, path: ModulePath) {
        let text = std::fs::read_to_string(file)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let syntax = syn::parse_file(&text).expect("the compiler takes it");
        self.read_items(&syntax.items, folder, children, path);
    }

    fn read_items(
        &mut self,
        items: &[syn::Item],
        folder: &Path,
        children: &Path,
        path: ModulePath,
    ) {
        let mut reader = Reader {
            modules: self,
            path: path.clone(),
            folder: folder.to_owned(),
            children: children.to_owned(),
            module: Module::default(),
        };
        for item in items {
            reader.visit_item(item);
        }
        let module = reader.module;
        self.0.insert(path, module);
    }

    /// Returns the module that defines what `path` names in `from`; `None` if it is not of this crate.
    fn resolve(&self, from: &[String], path: &[String], reexports: usize) -> Option<ModulePath> {
        if reexports > MAX_REEXPORTS {
            return None;
        }
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.descend(&[], rest, reexports),
            "self" => self.descend(from, rest, reexports),
            "super" => {
                let ups = path
                    .iter()
                    .take_while(|segment| *segment == "super")
                    .count();
                let up = from.get(..from.len().checked_sub(ups)?)?;
                self.descend(up, &path[ups..], reexports)
            }
            _ => self.find(from, path, reexports),
        }
    }

    /// As [`Self::find`]; what is not found is taken for an item of `at`.
    fn descend(&self, at: &[String], rest: &[String], reexports: usize) -> Option<ModulePath> {
        if rest.is_empty() {
            return Some(at.to_vec());
        }
        self.find(at, rest, reexports).or_else(|| Some(at.to_vec()))
    }

    fn find(&self, at: &[String], rest: &[String], reexports: usize) -> Option<ModulePath> {
        let module = self.0.get(at)?;
        let (name, further) = rest.split_first()?;
        let child = [at, std::slice::from_ref(name)].concat();
        if self.0.contains_key(&child) {
            return self.descend(&child, further, reexports);
        }
        if module.items.contains(name) {
            return Some(at.to_vec());
        }
        let imported = module
            .imports
            .iter()
            .find(|(visible, from)| visible == name && from.as_slice() != [name.clone()]);
        if let Some((_, from)) = imported {
            return self.resolve(at, &[from, further].concat(), reexports + 1);
        }
        module.globs.iter().find_map(|glob| {
            let from = self.resolve(at, glob, reexports + 1)?;
            let has_it = self.0.get(&from).is_some_and(|module| module.shows(name));
            (from != at && has_it).then(|| self.find(&from, rest, reexports + 1))?
        })
    }
}

impl Module {
    fn shows(&self, name: &str) -> bool {
        self.items.contains(name) || self.imports.iter().any(|(visible, _)| visible == name)
    }
}

/// Reads one module.
struct Reader<'a> {
    modules: &'a mut Modules,
    path: ModulePath,
    folder: PathBuf,
    children: PathBuf,
    module: Module,
}

impl Reader<'_> {
    fn read_use(&mut self, tree: &syn::UseTree, prefix: &[String]) {
        let with = |name: &syn::Ident| [prefix, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.read_use(&path.tree, &with(&path.ident)),
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.read_use(tree, prefix);
                }
            }
            syn::UseTree::Glob(_) => self.module.globs.push(prefix.to_vec()),
            syn::UseTree::Name(name) if name.ident == "self" => {
                let visible = prefix.last().cloned().unwrap_or_default();
                self.import(visible, prefix.to_vec());
            }
            syn::UseTree::Name(name) => self.import(name.ident.to_string(), with(&name.ident)),
            syn::UseTree::Rename(rename) => {
                let from = match rename.ident == "self" {
                    true => prefix.to_vec(),
                    false => with(&rename.ident),
                };
                self.import(rename.rename.to_string(), from);
            }
        }
    }

    fn import(&mut self, visible: String, from: Vec<String>) {
        self.module.named.insert(from.clone());
        self.module.imports.push((visible, from));
    }

    /// Finds paths in the arguments of a macro.
    fn read_tokens(&mut self, tokens: TokenStream) {
        let mut path = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.module.named.insert(std::mem::take(&mut path));
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.read_tokens(group.stream());
                    self.module.named.insert(std::mem::take(&mut path));
                    colons = 0;
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {
                    self.module.named.insert(std::mem::take(&mut path));
                    colons = 0;
                }
            }
        }
        self.module.named.insert(path);
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let (attributes, name) = attributes_and_name(item);
        if is_for_tests(attributes) {
            return;
        }
        if let Some(name) = name {
            self.module.items.insert(name.to_string());
        }
        visit::visit_item(self, item);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !is_for_tests(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.read_use(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string());
        self.module.named.insert(segments.collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.read_tokens(call.tokens.clone());
    }

    /// `pub(in path)` says who may use an item, and uses none.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let name = item.ident.to_string();
        let path = [self.path.as_slice(), std::slice::from_ref(&name)].concat();
        let own = self.children.join(&name);
        if let Some((_, items)) = &item.content {
            return self.modules.read_items(items, &self.folder, &own, path);
        }
        let beside = self.children.join(format!("{name}.rs"));
        let file = match path_attribute(&item.attrs) {
            Some(path) => self.folder.join(path),
            None if beside.exists() => beside,
            None => own.join("mod.rs"),
        };
        let folder = file.parent().expect("a file is in a folder").to_owned();
        self.modules.read_file(&file, &folder, &own, path);
    }
}

fn attributes_and_name(item: &syn::Item) -> (&[syn::Attribute], Option<&syn::Ident>) {
    use syn::Item;
    match item {
        Item::Const(item) => (&item.attrs, Some(&item.ident)),
        Item::Enum(item) => (&item.attrs, Some(&item.ident)),
        Item::Fn(item) => (&item.attrs, Some(&item.sig.ident)),
        Item::Impl(item) => (&item.attrs, None),
        Item::Macro(item) => (&item.attrs, item.ident.as_ref()),
        Item::Mod(item) => (&item.attrs, None),
        Item::Static(item) => (&item.attrs, Some(&item.ident)),
        Item::Struct(item) => (&item.attrs, Some(&item.ident)),
        Item::Trait(item) => (&item.attrs, Some(&item.ident)),
        Item::Type(item) => (&item.attrs, Some(&item.ident)),
        Item::Union(item) => (&item.attrs, Some(&item.ident)),
        Item::Use(item) => (&item.attrs, None),
        _ => (&[], None),
    }
}

/// Whether an item is compiled for tests alone.
fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    let condition = |attribute: &syn::Attribute| match &attribute.meta {
        syn::Meta::List(list) if attribute.path().is_ident("cfg") => {
            Some(list.tokens.to_string().replace(' ', ""))
        }
        _ => None,
    };
    attributes.iter().any(|attribute| {
        let condition = condition(attribute).unwrap_or_default();
        let of_all = condition.strip_prefix("all(").unwrap_or_default();
        let of_all = of_all
            .trim_end_matches(')')
            .split(',')
            .any(|one| one == "test");
        attribute.path().is_ident("test") || condition == "test" || of_all
    })
}

/// Returns the file of a module that is not where its name says. Of several files for several systems,
/// this is the first.
fn path_attribute(attributes: &[syn::Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| {
        let text = attribute.meta.to_token_stream().to_string();
        let is_path = attribute.path().is_ident("path") || attribute.path().is_ident("cfg_attr");
        let (_, value) = text.split_once("path = \"").filter(|_| is_path)?;
        Some(value.split('"').next()?.to_owned())
    })
}
