//! What a package may contain. Decided for the whole archive before the first byte is written.
//!
//! Modes: a file is 0755 if the archive marks it executable for anybody and 0644 otherwise; folders are 0755; set-id bits,
//! owners and times are dropped. An archive without Unix modes (made on Windows) gets 0644, and its `bootstrap` 0755, since
//! that one is there to be run.

use super::{
    Refused,
    archive::{Entry, Method},
};
use crate::options::PackageLimits;
use std::collections::{BTreeMap, HashMap};
use unicode_normalization::UnicodeNormalization;

/// Bytes of a link's target.
const TARGET_BYTES_MAX: u64 = 1024;
/// NAME_MAX of Linux filesystems.
const COMPONENT_BYTES_MAX: usize = 255;

const TYPE: u32 = 0o170_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_FOLDER: u32 = 0o040_000;
const TYPE_LINK: u32 = 0o120_000;

/// What to write, in an order in which every folder comes before what lies in it.
pub(super) struct Plan<'a> {
    /// Folders, those included that the archive only implies.
    pub(super) folders: Vec<String>,
    pub(super) files: Vec<PlannedFile<'a>>,
    /// Path and target; made when everything else is written, so that no path ever leads through one.
    pub(super) links: Vec<(String, String)>,
}

impl Plan<'_> {
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.entry.size).sum()
    }
}

pub(super) struct PlannedFile<'a> {
    pub(super) path: String,
    pub(super) entry: &'a Entry<'a>,
    pub(super) executable: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Folder,
    File,
    Link,
}

pub(super) fn plan<'a>(entries: &'a [Entry<'a>], archive_bytes: u64, limits: &PackageLimits) -> Result<Plan<'a>, Refused> {
    sizes(entries, archive_bytes, limits)?;
    let mut tree = Tree::default();
    let mut plan = Plan { folders: Vec::new(), files: Vec::new(), links: Vec::new() };
    for entry in entries {
        let kind = kind(entry)?;
        let path = path(entry.name, limits)?;
        if path.is_empty() {
            if kind == Kind::Folder {
                continue;
            }
            return Err(refuse(entry, "has no name"));
        }
        tree.add(entry, &path, kind, limits.entries_max)?;
        match kind {
            Kind::Folder => {}
            Kind::File => {
                let executable = entry.unix_mode.map_or(path == "bootstrap", |mode| mode & 0o111 != 0);
                plan.files.push(PlannedFile { path, entry, executable });
            }
            Kind::Link => plan.links.push((path, target(entry)?)),
        }
    }
    for (link, target) in &plan.links {
        stays_inside(link, target, &tree).map_err(|what| Refused::invalid(format!("link {link:?} {what}")))?;
    }
    plan.folders = tree.folders();
    Ok(plan)
}

/// Declared sizes; what is really unpacked is held against them as it comes.
fn sizes(entries: &[Entry<'_>], archive_bytes: u64, limits: &PackageLimits) -> Result<(), Refused> {
    let total = entries.iter().fold(0u64, |sum, e| sum.saturating_add(e.size));
    if total > limits.unzipped_bytes_max {
        return Err(Refused::large(format!("it unpacks to {total} bytes, and {} are the most", limits.unzipped_bytes_max)));
    }
    if total > limits.ratio_free_bytes && total / archive_bytes.max(1) > limits.ratio_max {
        let message = format!("its {archive_bytes} bytes unpack to {total}, more than {} times as many", limits.ratio_max);
        return Err(Refused::large(message));
    }
    Ok(())
}

fn kind(entry: &Entry<'_>) -> Result<Kind, Refused> {
    let slash = entry.name.ends_with('/');
    let kind = match entry.unix_mode.unwrap_or(0) & TYPE {
        0 | TYPE_FOLDER if slash => Kind::Folder,
        TYPE_FOLDER if entry.size == 0 => Kind::Folder,
        0 | TYPE_FILE if !slash => Kind::File,
        TYPE_LINK if !slash => Kind::Link,
        TYPE_FILE | TYPE_FOLDER | TYPE_LINK => {
            return Err(refuse(entry, "is of one type by its name and of another by its mode"));
        }
        _ => return Err(refuse(entry, "is a device, a FIFO or a socket")),
    };
    if kind == Kind::Folder && (entry.size != 0 || !entry.data.is_empty() && entry.method == Method::Stored) {
        return Err(refuse(entry, "is a folder with content"));
    }
    Ok(kind)
}

/// The name as a path beneath the package's root, without `.` and doubled slashes.
fn path(name: &str, limits: &PackageLimits) -> Result<String, Refused> {
    let bad = |what: &str| Err(Refused::invalid(format!("entry {name:?} {what}")));
    if name.is_empty() {
        return bad("has no name");
    }
    if name.chars().any(char::is_control) {
        return bad("has a control character in its name");
    }
    if name.contains('\\') {
        return bad("has a backslash in its name; pack it with forward slashes");
    }
    if name.starts_with('/') {
        return bad("has an absolute path");
    }
    if name.as_bytes().get(1) == Some(&b':') && name.as_bytes()[0].is_ascii_alphabetic() {
        return bad("begins with a drive letter");
    }
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return bad("leads out of the package");
    }
    if parts.len() > limits.depth_max {
        return Err(Refused::large(format!(
            "entry {:?}… lies {} folders deep, and {} are the most",
            head(name),
            parts.len(),
            limits.depth_max
        )));
    }
    if parts.iter().any(|part| part.len() > COMPONENT_BYTES_MAX) {
        return Err(Refused::large(format!(
            "entry {:?}… has a part of more than {COMPONENT_BYTES_MAX} bytes in its name",
            head(name)
        )));
    }
    Ok(parts.join("/"))
}

fn head(name: &str) -> String {
    name.chars().take(80).collect()
}

/// All paths of the package, the folders that they imply included, each in one spelling only.
#[derive(Default)]
struct Tree {
    kinds: BTreeMap<String, Kind>,
    /// Folded spelling → the one in use.
    spellings: HashMap<String, String>,
    /// Which of [`Tree::kinds`] had an entry of their own.
    named: std::collections::HashSet<String>,
}

impl Tree {
    /// An entry implies every folder above it, so that few entries can make very many folders: all paths count.
    fn add(&mut self, entry: &Entry<'_>, path: &str, kind: Kind, paths_max: usize) -> Result<(), Refused> {
        for (at, _) in path.match_indices('/') {
            self.put(entry, &path[..at], Kind::Folder)?;
        }
        self.put(entry, path, kind)?;
        if self.kinds.len() > paths_max {
            return Err(Refused::large(format!("it makes more than {paths_max} files and folders, and no more are kept")));
        }
        if !self.named.insert(path.to_owned()) {
            return Err(refuse(entry, "is there twice"));
        }
        Ok(())
    }

    fn put(&mut self, entry: &Entry<'_>, path: &str, kind: Kind) -> Result<(), Refused> {
        match self.kinds.get(path) {
            Some(known) if *known == kind => return Ok(()),
            Some(Kind::Link) => return Err(refuse(entry, &format!("lies beneath the link {path:?}, or replaces it"))),
            Some(_) => return Err(refuse(entry, &format!("makes {path:?} both a file and a folder"))),
            None => {}
        }
        if let Some(other) = self.spellings.insert(fold(path), path.to_owned()) {
            return Err(refuse(entry, &format!("differs from {other:?} only by case or by how its characters are composed")));
        }
        self.kinds.insert(path.to_owned(), kind);
        Ok(())
    }

    fn folders(&self) -> Vec<String> {
        // The map's order puts a folder before what lies in it.
        self.kinds.iter().filter(|(_, kind)| **kind == Kind::Folder).map(|(path, _)| path.clone()).collect()
    }
}

/// One spelling for all that a filesystem or a language might take for the same name.
fn fold(path: &str) -> String {
    if path.is_ascii() { path.to_ascii_lowercase() } else { path.nfkd().flat_map(char::to_lowercase).nfkd().collect() }
}

fn target(entry: &Entry<'_>) -> Result<String, Refused> {
    if entry.size == 0 || entry.size > TARGET_BYTES_MAX {
        return Err(refuse(entry, &format!("is a link of {} bytes", entry.size)));
    }
    let mut bytes = Vec::with_capacity(entry.size as usize);
    super::extract::Unpacker::default().unpack(entry, |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    })?;
    String::from_utf8(bytes).map_err(|_| refuse(entry, "is a link to a name that is not UTF-8"))
}

/// A link may lead anywhere inside the package, by a path that doesn't lead through another link: what `..` means behind a
/// link depends on where that link leads.
fn stays_inside(link: &str, target: &str, tree: &Tree) -> Result<(), String> {
    if target.starts_with('/') || target.contains('\\') || target.chars().any(char::is_control) {
        return Err(format!("leads to {target:?}; only relative paths inside the package are kept"));
    }
    let mut at: Vec<&str> = link.split('/').collect();
    at.pop();
    let mut through_link = false;
    for part in target.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if through_link {
            return Err(format!("leads through another link: {target:?}"));
        }
        if part == ".." {
            at.pop().ok_or_else(|| format!("leads out of the package: {target:?}"))?;
        } else {
            at.push(part);
            through_link = tree.kinds.get(&at.join("/")) == Some(&Kind::Link);
        }
    }
    Ok(())
}

fn refuse(entry: &Entry<'_>, what: &str) -> Refused {
    Refused::invalid(format!("entry {:?} {what}", entry.name))
}
