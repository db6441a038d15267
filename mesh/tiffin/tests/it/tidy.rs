//! The repository as its documents describe it: maps, tables and lists that nobody keeps up by hand for long.
//!
//! Reads files only; starts nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use mesh_contracts::envelope::EventBody;
use mesh_contracts::{basket, courier, delivery, menu, notification, order, payment, point, promotion, user};
use mesh_local::services::{Kind, SERVICES, Service, of_kind};

/// What a name in the map may be besides a folder: tools' and people's own files.
const ROOT_FILES: [&str; 6] = [
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "ARCHITECTURE.md",
    "LICENSE",
    "Dockerfile",
];

/// Where groups of crates are.
const GROUPS: [&str; 3] = ["master-services", "info-services", "mesh"];

/// Schemas that belong to no single master.
const FOR_ALL_MASTERS: &str = "engine";

/// What paths of one machine begin with.
const MACHINES: [&str; 6] = ["/home/", "/root/", "/Users/", "/work/", "/mnt/", "C:\\"];

#[test]
fn the_map_in_the_readme_is_the_root_of_the_repository() {
    let readme = text("README.md");
    let map = block_after(&readme, "## The map");
    let drawn: BTreeSet<String> = map
        .lines()
        .filter_map(|line| line.split_whitespace().next()?.strip_suffix('/').map(str::to_owned))
        .collect();
    let mut folders = folders_in(&root());
    folders.remove("target");
    assert_eq!(drawn, folders, "folders drawn in README.md, and folders there are");
    for file in files_in(&root()) {
        assert!(
            ROOT_FILES.contains(&file.as_str()),
            "{file} is new at the root, where hardly anything else shows"
        );
    }
}

#[test]
fn every_crate_is_a_member_and_every_member_a_crate() {
    let manifest = text("Cargo.toml");
    let line = manifest.lines().find(|line| line.starts_with("members"));
    let members: Vec<&str> = quoted(line.expect("a workspace has members"));
    let groups: BTreeSet<&str> = members.iter().filter_map(|member| member.strip_suffix("/*")).collect();
    assert_eq!(groups, BTreeSet::from(GROUPS));
    // Configuration that exists once per platform, and its tests.
    let line = manifest.lines().find(|line| line.starts_with("exclude"));
    let no_crates: Vec<&str> = quoted(line.expect("a workspace says what is no member"));
    for folder in &no_crates {
        let folder = root().join(folder);
        assert!(
            folder.is_dir() && !folder.join("Cargo.toml").exists(),
            "{} is said to be no crate",
            folder.display()
        );
    }
    for group in GROUPS {
        for folder in folders_in(&root().join(group)) {
            if no_crates.contains(&format!("{group}/{folder}").as_str()) {
                continue;
            }
            let manifest = root().join(group).join(&folder).join("Cargo.toml");
            assert!(manifest.is_file(), "{group}/{folder} is no crate");
            let name = package_name(&manifest);
            let is_program = group != "mesh" || root().join(group).join(&folder).join("src/main.rs").is_file();
            let expected = if is_program {
                folder.clone()
            } else {
                format!("mesh-{folder}")
            };
            assert_eq!(name, expected, "the name of {group}/{folder}");
        }
    }
}

#[test]
fn the_services_that_run_are_the_services_there_are() {
    let table: BTreeSet<&str> = SERVICES.iter().map(|service| service.name).collect();
    let mut there: BTreeSet<String> = BTreeSet::from(["gateway".to_owned()]);
    there.extend(folders_in(&root().join("master-services")));
    there.extend(folders_in(&root().join("info-services")));
    let parts = folders_in(&root().join("mesh")).into_iter();
    there.extend(parts.filter(|part| part.starts_with("sandbox-")));
    assert_eq!(table, there.iter().map(String::as_str).collect());
    for service in &SERVICES {
        let folder = folder_of(service);
        assert!(folder.join("README.md").is_file(), "{} has no README", service.name);
        assert!(folder.join("src/main.rs").is_file(), "{} is no program", service.name);
        assert!(
            folder.join("tests/it/main.rs").is_file(),
            "{} has no tests of its own",
            service.name
        );
        assert_eq!(package_name(&folder.join("Cargo.toml")), service.name);
    }
}

#[test]
fn migrations_are_the_engines_or_a_masters() {
    let masters: BTreeSet<&str> = of_kind(Kind::Master).map(|master| master.name).collect();
    let mut folders = folders_in(&root().join("migrations"));
    assert!(
        folders.remove(FOR_ALL_MASTERS),
        "migrations/{FOR_ALL_MASTERS} is every master's"
    );
    for folder in folders {
        assert!(
            masters.contains(folder.as_str()),
            "migrations/{folder} belongs to no master"
        );
        let source = all_text_in(&root().join("master-services").join(&folder).join("src"));
        assert!(
            source.contains(&format!("migrations/{folder}")),
            "{folder} does not run its own migrations"
        );
    }
}

#[test]
fn the_architecture_names_every_part_and_every_service() {
    let architecture = text("ARCHITECTURE.md");
    for part in folders_in(&root().join("mesh")) {
        assert!(
            architecture.contains(&format!("`mesh/{part}`")),
            "ARCHITECTURE.md does not name mesh/{part}"
        );
    }
    for service in &SERVICES {
        assert!(
            architecture.contains(service.name),
            "ARCHITECTURE.md does not name {}",
            service.name
        );
    }
}

#[test]
fn the_architecture_lists_every_event_and_none_that_does_not_exist() {
    let exist: BTreeSet<&str> = [
        order::Event::TYPES,
        basket::Event::TYPES,
        payment::Event::TYPES,
        menu::Event::TYPES,
        promotion::Event::TYPES,
        point::Event::TYPES,
        courier::Event::TYPES,
        delivery::Event::TYPES,
        user::Event::TYPES,
        notification::Event::TYPES,
    ]
    .concat()
    .into_iter()
    .collect();
    let architecture = text("ARCHITECTURE.md");
    let listed: BTreeSet<&str> = section(&architecture, "## Events")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(" | ").next())
        .flat_map(|cell| cell.trim_end_matches('`').split("` `"))
        .collect();
    assert_eq!(
        listed, exist,
        "events listed in ARCHITECTURE.md, and events of mesh/contracts"
    );
    // Elsewhere in the text a name that looks like an event must be one, too.
    let kinds: BTreeSet<&str> = exist.iter().filter_map(|event| event.split('.').next()).collect();
    for name in architecture
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| is_event_like(name, &kinds))
    {
        assert!(
            exist.contains(name),
            "ARCHITECTURE.md speaks of {name}, which does not exist"
        );
    }
}

/// `noun.verb` of a noun that has events, and not a file.
fn is_event_like(name: &str, kinds: &BTreeSet<&str>) -> bool {
    let file_endings = ["rs", "md", "lua", "sql", "toml", "json"];
    let of_letters = |part: &str| !part.is_empty() && part.chars().all(|char| char.is_ascii_lowercase() || char == '_');
    name.split_once('.')
        .is_some_and(|(noun, verb)| kinds.contains(noun) && of_letters(verb) && !file_endings.contains(&verb))
}

#[test]
fn no_document_has_a_path_of_one_machine() {
    let mut documents = Vec::new();
    markdown_in(&root(), &mut documents);
    assert!(documents.len() > SERVICES.len(), "there are documents to read");
    for document in documents {
        let text = std::fs::read_to_string(&document).expect("a document is text");
        for (number, line) in text.lines().enumerate() {
            for machine in MACHINES {
                let at = format!("{}:{}", document.display(), number + 1);
                assert!(!line.contains(machine), "{at} has a path of one machine: {line}");
            }
        }
    }
}

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the workspace is where it was built")
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|err| panic!("{path}: {err}"))
}

fn folder_of(service: &Service) -> PathBuf {
    let group = match service.kind {
        Kind::Master => "master-services",
        Kind::Info => "info-services",
        Kind::Gateway => "",
        Kind::Sandbox => "mesh",
    };
    root().join(group).join(service.name)
}

/// Without those whose names begin with a dot: they are tools'.
fn folders_in(folder: &Path) -> BTreeSet<String> {
    names_in(folder, Path::is_dir)
}

fn files_in(folder: &Path) -> BTreeSet<String> {
    names_in(folder, Path::is_file)
}

fn names_in(folder: &Path, wanted: impl Fn(&Path) -> bool) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|err| panic!("{}: {err}", folder.display()));
    entries
        .map(|entry| entry.expect("readable"))
        .filter(|entry| wanted(&entry.path()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect()
}

/// Ours alone: what tools build or platforms keep is in folders of their own.
fn markdown_in(folder: &Path, found: &mut Vec<PathBuf>) {
    let is_ours = |name: &str| name == ".github" || !(name.starts_with('.') || name == "target");
    for entry in std::fs::read_dir(folder).expect("readable").flatten() {
        let path = entry.path();
        if path.is_dir() && is_ours(&entry.file_name().to_string_lossy()) {
            markdown_in(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

fn all_text_in(folder: &Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(folder).expect("readable").flatten() {
        let path = entry.path();
        if path.is_dir() {
            all += &all_text_in(&path);
        } else {
            all += &std::fs::read_to_string(&path).expect("source is text");
        }
    }
    all
}

fn package_name(manifest: &Path) -> String {
    let text = std::fs::read_to_string(manifest).expect("a manifest is text");
    let line = text.lines().find(|line| line.starts_with("name ="));
    quoted(line.expect("a package has a name"))
        .first()
        .expect("in quotes")
        .to_string()
}

fn quoted(line: &str) -> Vec<&str> {
    line.split('"').skip(1).step_by(2).collect()
}

/// From a heading to the next one of its kind.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let (_, rest) = text
        .split_once(&format!("{heading}\n"))
        .unwrap_or_else(|| panic!("no {heading}"));
    rest.split("\n## ").next().unwrap_or_default()
}

/// The first fenced block below a heading.
fn block_after<'a>(text: &'a str, heading: &str) -> &'a str {
    let mut fences = section(text, heading).split("```");
    fences.nth(1).unwrap_or_else(|| panic!("no block below {heading}"))
}
