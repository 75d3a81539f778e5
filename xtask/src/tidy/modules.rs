//! The modules of one compiled target, each with its file and what stands in it.

mod resolve;

use super::outline::{self, Outline};
use std::collections::BTreeMap;

pub(super) use resolve::Place;

/// The place of a module among those of its target.
pub(super) type ModuleIx = usize;
/// The place of a file among those of its target.
pub(super) type FileIx = usize;

/// The texts of a crate's files by their path from `src`.
pub(super) type Texts<'a> = BTreeMap<String, &'a str>;

#[derive(Debug)]
pub(super) struct Module {
    pub(super) file: FileIx,
    above: Option<ModuleIx>,
    children: BTreeMap<String, ModuleIx>,
    pub(super) outline: Outline,
}

/// The modules below `lib.rs` or `main.rs`, which is the first of them.
#[derive(Debug, Default)]
pub(super) struct Modules {
    pub(super) files: Vec<String>,
    pub(super) all: Vec<Module>,
}

/// The targets of a crate: its library and its program.
///
/// # Errors
/// A file that is named and not there, or is not Rust.
pub(super) fn targets(texts: &Texts<'_>) -> Result<Vec<Modules>, String> {
    let roots = ["lib.rs", "main.rs"].into_iter().filter(|root| texts.contains_key(*root));
    roots.map(|root| read(root, texts)).collect()
}

fn read(root: &str, texts: &Texts<'_>) -> Result<Modules, String> {
    let mut reading = Reading { texts, modules: Modules::default() };
    reading.file(root.to_owned(), "", None)?;
    Ok(reading.modules)
}

impl Modules {
    /// Whether a module is another one or stands below it.
    pub(super) fn is_within(&self, module: ModuleIx, upper: ModuleIx) -> bool {
        self.upwards(Some(module)).any(|ix| ix == upper)
    }

    /// The file that declares another one; none declares the first.
    pub(super) fn parent(&self, file: FileIx) -> Option<FileIx> {
        let first = self.all.iter().position(|module| module.file == file);
        self.upwards(first).map(|ix| self.all[ix].file).find(|upper| *upper != file)
    }

    /// A module, the one above it, and so on.
    fn upwards(&self, from: Option<ModuleIx>) -> impl Iterator<Item = ModuleIx> {
        std::iter::successors(from, |ix| self.all[*ix].above)
    }
}

struct Reading<'a> {
    texts: &'a Texts<'a>,
    modules: Modules,
}

impl Reading<'_> {
    /// Adds a file's modules; the files of those that it names lie in `folder`.
    fn file(
        &mut self,
        path: String,
        folder: &str,
        above: Option<ModuleIx>,
    ) -> Result<ModuleIx, String> {
        let text = self.texts.get(&path).ok_or_else(|| format!("{path}: no such file"))?;
        let outline = outline::read(text).map_err(|why| format!("{path}:{why}"))?;
        self.modules.files.push(path);
        self.module(outline, self.modules.files.len() - 1, folder, above)
    }

    fn module(
        &mut self,
        mut outline: Outline,
        file: FileIx,
        folder: &str,
        above: Option<ModuleIx>,
    ) -> Result<ModuleIx, String> {
        let inner = std::mem::take(&mut outline.inner);
        let outer = std::mem::take(&mut outline.outer);
        let ix = self.modules.all.len();
        self.modules.all.push(Module { file, above, children: BTreeMap::new(), outline });
        for (name, outline) in inner {
            let child = self.module(outline, file, &format!("{folder}{name}/"), Some(ix))?;
            self.modules.all[ix].children.insert(name, child);
        }
        for name in outer {
            let below = format!("{folder}{name}/");
            let beside = format!("{folder}{name}.rs");
            let is_beside = self.texts.contains_key(&beside);
            let path = if is_beside { beside } else { format!("{below}mod.rs") };
            let child = self.file(path, &below, Some(ix))?;
            self.modules.all[ix].children.insert(name, child);
        }
        Ok(ix)
    }
}

/// The library of a made-up crate with these files.
#[cfg(test)]
pub(super) fn library(files: &[(&str, &str)]) -> Modules {
    let texts = files.iter().map(|(path, text)| ((*path).to_owned(), *text)).collect();
    targets(&texts).unwrap().remove(0)
}
