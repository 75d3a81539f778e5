//! In which files the names of types and the names of methods are defined.

use super::std_methods;
use crate::tidy::modules::{FileIx, ModuleIx, Modules, Place};
use crate::tidy::outline::{Block, Call};
use std::collections::{BTreeMap, BTreeSet};

/// Homes of what `impl` blocks and traits define.
#[derive(Debug, Default)]
pub(super) struct Homes {
    /// By the type and the name of its part.
    parts: BTreeMap<Place, BTreeSet<FileIx>>,
    /// By the name.
    methods: BTreeMap<String, Vec<Home>>,
}

/// Where a method is defined, and what calls of it look like.
#[derive(Debug)]
struct Home {
    file: FileIx,
    arguments: usize,
    /// The module that it can be called in, and in those below it.
    seen_in: ModuleIx,
}

impl Homes {
    pub(super) fn of(modules: &Modules) -> Self {
        let mut homes = Self::default();
        for (ix, module) in modules.all.iter().enumerate() {
            for block in module.outline.impls.iter().chain(&module.outline.traits) {
                homes.add_methods(modules, ix, block);
                homes.add_parts(modules, ix, block);
            }
        }
        homes
    }

    fn add_methods(&mut self, modules: &Modules, ix: ModuleIx, block: &Block) {
        for method in &block.methods {
            let seen_in = match modules.resolve(ix, &method.seen_in) {
                Some(Place::Module(seen_in)) => seen_in,
                _ => 0,
            };
            let home = Home { file: modules.all[ix].file, arguments: method.arguments, seen_in };
            self.methods.entry(method.name.clone()).or_default().push(home);
        }
    }

    fn add_parts(&mut self, modules: &Modules, ix: ModuleIx, block: &Block) {
        let Some(Place::Item(at, of)) = modules.resolve(ix, &block.of) else { return };
        for name in block.methods.iter().map(|method| &method.name).chain(&block.others) {
            let part = Place::Part(at, of.clone(), name.clone());
            self.parts.entry(part).or_default().insert(modules.all[ix].file);
        }
    }

    /// The file of a place: that of a type's part where one file alone defines it, else the type's.
    /// None for a module, which is only named on the way to something.
    pub(super) fn file(&self, modules: &Modules, place: &Place) -> Option<FileIx> {
        let (Place::Item(at, _) | Place::Part(at, ..) | Place::Unseen(at)) = place else {
            return None;
        };
        let part = self.parts.get(place).filter(|files| files.len() == 1);
        let part = part.and_then(|files| files.first().copied());
        Some(part.unwrap_or(modules.all[*at].file))
    }

    /// The one file that defines methods of the name that `from` calls, if the call can mean one of
    /// them and the name is none of the standard library's.
    pub(super) fn method(&self, modules: &Modules, from: ModuleIx, call: &Call) -> Option<FileIx> {
        let homes = self.methods.get(&call.method)?;
        let file = homes.first()?.file;
        let fits = |home: &Home| {
            call.arguments.is_none_or(|given| given == home.arguments)
                && modules.is_within(from, home.seen_in)
        };
        let is_alone = homes.iter().all(|home| home.file == file);
        let may_mean_it = is_alone && homes.iter().any(fits) && !std_methods::has(&call.method);
        may_mean_it.then_some(file)
    }
}
