//! What the help and the manual page of a command add to its options: examples, exit codes, and
//! related commands.

/// The additions for one command.
pub(crate) struct Page {
    /// The name, without `vaultstore`.
    pub(crate) command: &'static str,
    /// The group of the main help.
    pub(crate) group: Group,
    /// Lines that can be typed into a shell.
    pub(crate) examples: &'static [&'static str],
    /// Exit codes besides 0, 1, 2, 75 and 130.
    pub(crate) codes: &'static [(u8, &'static str)],
    pub(crate) see_also: &'static [&'static str],
}

/// The groups of the main help, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Start,
    Records,
    Passwords,
    Vault,
    Tools,
}

impl Group {
    pub(crate) const ALL: [Self; 5] =
        [Self::Start, Self::Records, Self::Passwords, Self::Vault, Self::Tools];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Start => "Getting started",
            Self::Records => "Records",
            Self::Passwords => "Change a password",
            Self::Vault => "The whole vault",
            Self::Tools => "For packagers and tests",
        }
    }
}

/// The exit codes of every command that opens a vault.
pub(crate) const COMMON_CODES: [(u8, &str); 5] = [
    (0, "success"),
    (1, "failure"),
    (2, "invalid usage or configuration; nothing was changed"),
    (75, "the server was gone or busy; run the same command again"),
    (130, "interrupted"),
];

const REMAIN: &str = "finished, but damaged, malformed or other records remain that need attention";
const NOT_TRIED: &str = "damaged or malformed records, or records that no password was tried on";

const fn page(
    command: &'static str,
    group: Group,
    examples: &'static [&'static str],
    codes: &'static [(u8, &'static str)],
    see_also: &'static [&'static str],
) -> Page {
    Page { command, group, examples, codes, see_also }
}

/// One page per command, in the order of the main help.
pub(crate) const PAGES: &[Page] = &[
    page("demo", Group::Start, &["vaultstore demo"], &[], &["init", "rekey"]),
    page(
        "init",
        Group::Start,
        &[
            "vaultstore init",
            "vaultstore init --vault sqlite:vault.sqlite --format v3+padme",
            "vaultstore init --kdf high_security",
        ],
        &[],
        &["create", "settings"],
    ),
    page(
        "info",
        Group::Start,
        &["vaultstore info", "vaultstore info --vault redb:backup.redb --json"],
        &[(3, REMAIN)],
        &["census", "status"],
    ),
    page(
        "create",
        Group::Records,
        &[
            "printf s3cret | vaultstore create",
            "vaultstore create --token smtp --value-file secret --password-file password --expires-in 30d",
        ],
        &[],
        &["read", "update", "import"],
    ),
    page(
        "read",
        Group::Records,
        &["vaultstore read smtp", "vaultstore read smtp imap --json --password-file password"],
        &[],
        &["create", "list"],
    ),
    page(
        "update",
        Group::Records,
        &["printf changed | vaultstore update smtp --password-file password"],
        &[],
        &["read", "renew"],
    ),
    page(
        "delete",
        Group::Records,
        &["vaultstore delete smtp", "vaultstore delete smtp --hard --yes"],
        &[],
        &["restore", "purge-expired"],
    ),
    page("restore", Group::Records, &["vaultstore restore smtp"], &[], &["delete"]),
    page(
        "renew",
        Group::Records,
        &["vaultstore renew smtp --expires-in 30d", "vaultstore renew smtp --never"],
        &[],
        &["create", "purge-expired"],
    ),
    page("exists", Group::Records, &["vaultstore exists smtp"], &[], &["list"]),
    page(
        "purge-expired",
        Group::Records,
        &["vaultstore purge-expired", "vaultstore purge-expired --hard --yes"],
        &[(3, "records remain that the database would not change")],
        &["renew", "delete"],
    ),
    page(
        "list",
        Group::Records,
        &[
            "vaultstore list",
            "vaultstore list --expired only --sort expires --limit 20",
            "vaultstore list --count",
        ],
        &[(3, "rows that cannot be read, which are named")],
        &["read", "info"],
    ),
    page(
        "test-rekey",
        Group::Passwords,
        &["vaultstore test-rekey --old-password-file leaked --new-password-file new"],
        &REKEY_CODES,
        &["rekey", "census"],
    ),
    page(
        "rekey",
        Group::Passwords,
        &[
            "vaultstore rekey",
            "vaultstore rekey --old-password-file leaked --new-password-file new",
            "vaultstore rekey --pairs pairs.jsonl --max-rate 500 --metrics-file vaultstore.prom",
        ],
        &REKEY_CODES,
        &["test-rekey", "status", "verify", "scrub"],
    ),
    page("status", Group::Passwords, &["vaultstore status"], &[], &["rekey", "info"]),
    page(
        "verify",
        Group::Passwords,
        &[
            "vaultstore verify --absent-password-file leaked",
            "vaultstore verify --password-file new --password-file other",
        ],
        &[(3, "records that none of the passwords opens, or that an absent password opens")],
        &["census", "rekey"],
    ),
    page(
        "upgrade",
        Group::Passwords,
        &["vaultstore upgrade --password-file one --password-file two --dry-run"],
        &[
            (3, NOT_TRIED),
            (6, "records of another form open under none of the passwords; nothing was written"),
        ],
        &["rekey", "settings"],
    ),
    page(
        "scrub",
        Group::Passwords,
        &["vaultstore scrub"],
        &[(3, "a log or an old file remains that others keep in use")],
        &["rekey", "leaks"],
    ),
    page(
        "leaks",
        Group::Passwords,
        &["vaultstore leaks", "vaultstore leaks --password-file one --password-file two"],
        &[(3, "something tells which records share a password")],
        &["scrub", "upgrade"],
    ),
    page(
        "census",
        Group::Vault,
        &["vaultstore census", "vaultstore census --password-file password --json"],
        &[(3, NOT_TRIED)],
        &["verify", "info"],
    ),
    page(
        "copy",
        Group::Vault,
        &["vaultstore copy --to redb:backup.redb"],
        &[(3, "not every record is in the target as it is here")],
        &["export"],
    ),
    page(
        "import",
        Group::Vault,
        &[
            "vaultstore import records.jsonl --password-file password",
            "vaultstore import records.jsonl --dry-run --password-file password",
        ],
        &[(3, "lines that were not imported, which are named")],
        &["export", "create"],
    ),
    page(
        "export",
        Group::Vault,
        &["vaultstore export --output records.jsonl --password-file password"],
        &[(3, NOT_TRIED), (4, "no record was exported")],
        &["import", "copy"],
    ),
    page("migrate", Group::Vault, &["vaultstore migrate"], &[], &["init", "copy"]),
    page(
        "identity",
        Group::Vault,
        &["vaultstore identity status", "vaultstore identity purge"],
        &[(3, "password identities remain (status: with --expect-none)")],
        &["leaks", "census"],
    ),
    page(
        "settings",
        Group::Vault,
        &["vaultstore settings list", "vaultstore settings set kdf high_security"],
        &[],
        &["init", "upgrade"],
    ),
    page(
        "benchmark-rekey",
        Group::Tools,
        &["vaultstore benchmark-rekey --records 100000"],
        &[],
        &["rekey"],
    ),
    page("completions", Group::Tools, &["vaultstore completions bash"], &[], &["man"]),
    page(
        "man",
        Group::Tools,
        &["vaultstore man", "vaultstore man rekey", "vaultstore man --output-dir man1"],
        &[],
        &["completions"],
    ),
];

const REKEY_CODES: [(u8, &str); 4] = [
    (3, REMAIN),
    (4, "no record was re-encrypted, or another number than --expect-count"),
    (
        5,
        "the new password is in use already, or chained pairs may have been moved; nothing was written",
    ),
    (6, "records would be marked; nothing was written"),
];

/// The page of a command.
pub(crate) fn page_of(command: &str) -> Option<&'static Page> {
    PAGES.iter().find(|page| page.command == command)
}

impl Page {
    /// All exit codes of the command, in order.
    pub(crate) fn all_codes(&self) -> Vec<(u8, &'static str)> {
        let mut codes: Vec<_> = COMMON_CODES.iter().chain(self.codes).copied().collect();
        codes.sort_by_key(|(code, _)| *code);
        if self.command == "exists" {
            codes[0].1 = "yes";
            codes[1].1 = "no, or a failure";
        }
        codes
    }
}
