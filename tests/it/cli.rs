//! The command line as people and scripts use it: the real executable against a running system.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

use halcyon_tests::{client::TOKEN, load::sequence_mapping, up::Studio};

/// The executable with a home of its own.
pub(crate) struct Cli {
    home: PathBuf,
    data_dir: Option<PathBuf>,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// What it printed, after checking how it ended.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> String {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self.out
    }

    /// The same as JSON.
    #[track_caller]
    pub(crate) fn json(self, code: i32) -> Value {
        let out = self.expect(code);
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error} in {out}"))
    }
}

impl Cli {
    /// A command line of the first administrator of a system on this machine.
    pub(crate) fn local(studio: &Studio) -> Self {
        Self {
            home: studio.folder.path().join("home"),
            data_dir: Some(studio.folder.path().join("data")),
        }
    }

    /// A command line that knows of no system.
    pub(crate) fn nowhere(folder: &Path) -> Self {
        Self {
            home: folder.join("nowhere"),
            data_dir: None,
        }
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, "", &[])
    }

    pub(crate) fn run_with(&self, args: &[&str], input: &str, environment: &[(&str, &str)]) -> Ran {
        fs::create_dir_all(&self.home).unwrap();
        let mut command = Command::new(crate::halcyon());
        command.args(args).current_dir(&self.home);
        command.env("XDG_CONFIG_HOME", &self.home).env("HOME", &self.home);
        for name in ["HALCYON_URL", "HALCYON_TOKEN", "HALCYON_CA_FILE"] {
            command.env_remove(name);
        }
        command.envs(environment.iter().copied());
        if let Some(folder) = &self.data_dir {
            command.arg("--data-dir").arg(folder);
        }
        let piped = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        // A command that does not read its input closes it.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let Output {
            status,
            stdout,
            stderr,
        } = child.wait_with_output().unwrap();
        Ran {
            code: status.code().unwrap_or(-1),
            out: String::from_utf8(stdout).unwrap(),
            err: String::from_utf8(stderr).unwrap(),
        }
    }
}

fn write(file: &Path, content: &Value) -> String {
    fs::write(file, content.to_string()).unwrap();
    file.display().to_string()
}

#[tokio::test]
async fn a_datasource_lives_its_whole_life_on_the_command_line() {
    let studio = Studio::start(crate::halcyon()).await;
    let cli = Cli::local(&studio);
    let config = json!({
        "connection": {"auth": {"type": "bearer", "secret": {"$secret": "token"}}},
        "mapping": sequence_mapping("t"),
    });
    let file = write(&studio.folder.path().join("config.json"), &config);
    let create = [
        "ds",
        "create",
        "edr",
        "--type",
        "http_webhook",
        "-f",
        &file,
        "--tag",
        "a",
        "-o",
        "json",
    ];
    let made = cli.run(&create).json(0);
    let id = made["id"].as_str().unwrap().to_owned();
    assert_eq!(cli.run(&create).code, 4, "the name is taken");

    // Without its secret it cannot be published; the problem names the place.
    let refused = cli.run(&["ds", "publish", "edr"]);
    assert_eq!(refused.code, 1);
    assert!(
        refused
            .err
            .contains("/config/connection/auth/secret: there is no secret `token`"),
        "{}",
        refused.err
    );
    let put = cli.run_with(&["secret", "put", "edr", "token"], &format!("{TOKEN}\n"), &[]);
    assert_eq!(put.expect(0), "token is written, version 1\n");
    assert_eq!(
        cli.run(&["secret", "put", "edr", "token", TOKEN]).code,
        2,
        "no value on a command line"
    );
    let listed = cli.run(&["secret", "list", "edr"]).expect(0);
    assert!(
        listed.starts_with("NAME   VERSION  WRITTEN") && listed.contains("token  1 "),
        "{listed}"
    );
    assert!(!listed.contains(TOKEN));

    let event = json!({"seq": 1, "host": "h", "at": "2026-01-02T03:04:05Z"}).to_string();
    let tested = cli
        .run_with(&["ds", "test", "edr", "--payload", "-"], &event, &[])
        .expect(0);
    assert!(
        tested.contains("alert ") && tested.contains("ok: 1 records in"),
        "{tested}"
    );
    let broken = cli.run_with(&["ds", "test", "edr", "--payload", "-"], "{}", &[]);
    assert_eq!(broken.code, 1, "{}", broken.out);
    assert!(broken.out.contains("FAILED"), "{}", broken.out);

    assert_eq!(
        cli.run(&["ds", "publish", "edr", "-m", "first"]).expect(0),
        "edr: version 1 is published\n"
    );
    assert_eq!(
        cli.run(&["ds", "start", "edr", "--wait"]).expect(0),
        "edr is to run: RUNNING\n"
    );
    assert_eq!(studio.client.ingest(&id, event.into_bytes()).await.status, 202);
    let tail = cli
        .run(&["ds", "tail", "edr", "--count", "1", "-o", "json"])
        .json(0);
    assert_eq!(tail["datasource"], json!(id));
    let list = cli.run(&["ds", "list", "--tag", "a"]).expect(0);
    assert!(
        list.starts_with("NAME  ENV") && list.contains("edr   production  http_webhook  active  RUNNING"),
        "{list}"
    );
    assert!(
        !cli.run(&["ds", "list", "--no-headers"])
            .expect(0)
            .contains("NAME")
    );
    let shown = cli.run(&["ds", "show", &id, "-o", "yaml"]).expect(0);
    assert!(shown.contains("\nname: edr\n"), "{shown}");

    // A second version, compared, published, and rolled back.
    let mut other = config.clone();
    other["runtime"] = json!({"parallelism": 2});
    let file = write(&studio.folder.path().join("other.json"), &other);
    cli.run(&["ds", "edit", "edr", "--description", "endpoint", "-f", &file])
        .expect(0);
    let diff = cli.run(&["ds", "diff", "edr"]).expect(0);
    assert_eq!(
        diff,
        "from version 1 to version 2:\n  runtime added: {\"parallelism\":2}\n"
    );
    cli.run(&["ds", "publish", "edr"]).expect(0);
    assert_eq!(
        cli.run(&["ds", "rollback", "edr"]).expect(0),
        "edr: version 3 is published\n"
    );
    let versions = cli.run(&["ds", "versions", "edr", "-o", "json"]).json(0);
    assert_eq!(versions.as_array().unwrap().len(), 3);

    assert_eq!(
        cli.run(&["ds", "stop", "edr", "--wait"]).expect(0),
        "edr is to stop: STOPPED\n"
    );
    assert_eq!(cli.run(&["ds", "disable", "edr"]).expect(0), "edr is disabled\n");
    assert_eq!(cli.run(&["ds", "enable", "edr"]).expect(0), "edr is enabled\n");
    let metrics = cli.run(&["ds", "metrics", "edr", "-o", "json"]).json(0);
    assert!(metrics["events"].is_u64());
    let events = cli.run(&["ds", "events", "edr"]).expect(0);
    assert!(
        events.contains("rolled_back") && events.contains("secret_changed"),
        "{events}"
    );
    assert_eq!(
        cli.run(&["ds", "dead-letters", "edr", "-o", "json"]).json(0),
        json!([])
    );
    let logs = cli
        .run(&["ds", "logs", "edr", "--since", "1h", "-o", "json"])
        .json(0);
    assert!(logs.is_array());

    cli.run(&["ds", "clone", "edr", "edr", "--to-env", "staging"])
        .expect(0);
    let ambiguous = cli.run(&["ds", "show", "edr"]);
    assert_eq!(ambiguous.code, 2);
    assert!(
        ambiguous.err.contains("give the id or --env") && ambiguous.err.contains(&id),
        "{}",
        ambiguous.err
    );
    cli.run(&["ds", "show", "edr", "--env", "staging"]).expect(0);
    assert_eq!(
        cli.run(&["ds", "delete", "edr", "--env", "staging"]).code,
        2,
        "nobody to ask"
    );
    cli.run(&["ds", "delete", "edr", "--env", "staging", "--yes"])
        .expect(0);
    assert_eq!(cli.run(&["ds", "show", "edr", "--env", "staging"]).code, 3);
    let start = cli.run(&["ds", "start", "00000000-0000-0000-0000-000000000000"]);
    assert_eq!(start.code, 3, "{}", start.err);
    studio.up.stop();
}

#[tokio::test]
async fn a_login_is_kept_for_its_owner_only_and_forgotten() {
    let studio = Studio::start(crate::halcyon()).await;
    let cli = Cli::nowhere(studio.folder.path());
    let url = &studio.up.ready.url;
    let nowhere = cli.run(&["whoami"]);
    assert_eq!(nowhere.code, 5);
    assert!(nowhere.err.contains("no system is known"), "{}", nowhere.err);
    let login = [
        "login",
        "--url",
        url,
        "--email",
        &studio.up.ready.admin_email,
        "--password-file",
        "-",
    ];
    let wrong = cli.run_with(&login, "wrong\n", &[]);
    assert_eq!(wrong.code, 5);
    assert!(
        wrong.err.contains("the e-mail address or the password is wrong"),
        "{}",
        wrong.err
    );
    cli.run_with(&login, &format!("{}\n", studio.password), &[])
        .expect(0);
    let file = cli.home.join("halcyon/credentials.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let me = cli.run(&["whoami", "-o", "json"]).json(0);
    assert_eq!(me["email"], json!(studio.up.ready.admin_email));
    cli.run(&["ds", "list"]).expect(0);

    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let open = cli.run(&["whoami"]);
    assert!(
        open.code == 1 && open.err.contains("others may read it"),
        "{}",
        open.err
    );
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    cli.run(&["logout"]).expect(0);
    assert!(!fs::read_to_string(&file).unwrap().contains("access_token"));
    assert_eq!(cli.run(&["whoami"]).code, 5);

    // A token of the environment needs no login; one that does not hold is refused.
    let environment = [("HALCYON_URL", url.as_str()), ("HALCYON_TOKEN", "nonsense")];
    assert_eq!(cli.run_with(&["whoami"], "", &environment).code, 5);
    let gone = cli.run(&[
        "whoami",
        "--url",
        "http://127.0.0.1:9",
        "--token-file",
        file.to_str().unwrap(),
    ]);
    assert_eq!(gone.code, 5);
    assert!(
        gone.err.contains("http://127.0.0.1:9 cannot be reached"),
        "{}",
        gone.err
    );
    studio.up.stop();
}

#[test]
fn the_help_tells_the_exit_codes_and_shells_can_complete() {
    let folder = tempfile::tempdir().unwrap();
    let cli = Cli::nowhere(folder.path());
    let help = cli.run(&["--help"]).expect(0);
    assert!(
        help.contains("Exit codes:") && help.contains("plan --detailed-exit-code"),
        "{help}"
    );
    for (shell, word) in [
        ("bash", "_halcyon()"),
        ("zsh", "#compdef halcyon"),
        ("fish", "complete -c halcyon"),
    ] {
        let text = cli.run(&["completions", shell]).expect(0);
        assert!(text.contains(word) && text.contains("dead-letters"), "{shell}");
    }
    assert_eq!(cli.run(&["ds", "lst"]).code, 2);
    assert_eq!(cli.run(&["plan"]).code, 2);
}
