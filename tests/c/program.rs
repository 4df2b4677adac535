//! C programs: how they are compiled and run.

use std::env;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use clopos_sandbox::{CLIENT_ID, CLIENT_SECRET, Sandbox, Settings, TEST_BRAND, TEST_INTEGRATOR};
use libtest_mimic::Trial;

const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

/// The libraries that a program with the static library also links.
pub const STATIC_LIBRARIES: [&str; 3] = ["-lpthread", "-lm", "-ldl"];

#[derive(Clone, Copy)]
pub enum Language {
    C99,
    Cpp11,
    Cpp17,
}

#[derive(Clone, Copy)]
pub enum Linkage {
    Shared,
    Static,
    /// Not linked: the program loads it.
    Loaded,
}

/// How a program is built.
#[derive(Clone, Copy)]
pub struct Build(pub Language, pub Linkage);

/// A compiled C program, in a directory of its own.
pub struct Program {
    pub directory: PathBuf,
}

impl Program {
    /// Compiles the program, unless it is newer than everything that it is made of. Several threads and processes may
    /// compile the same program at the same time.
    pub fn compile(
        name: &str,
        sources: &[&str],
        Build(language, linkage): Build,
        options: &[&str],
    ) -> Program {
        static COMPILING: Mutex<()> = Mutex::new(());
        let _alone = COMPILING.lock().unwrap_or_else(PoisonError::into_inner);
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let libraries = libraries();
        let program = Program {
            directory: directory(name),
        };
        let library = libraries.join(match linkage {
            Linkage::Shared | Linkage::Loaded => "libclopos_auth.so",
            Linkage::Static => "libclopos_auth.a",
        });
        let headers = [
            "include/clopos_auth.h",
            "include/clopos_auth.hpp",
            "examples/c/environment.h",
            "examples/c/messages.h",
            "examples/c/till.h",
            "examples/cpp/environment.hpp",
            "tests/c/harness.h",
            "tests/c/shared.h",
            "tests/c.rs",
        ];
        let inputs = sources.iter().chain(&headers).map(|path| root.join(path));
        if program.is_newer_than(inputs.chain([library.clone()])) {
            return program;
        }
        let (compiler, standard) = match language {
            Language::C99 => ("gcc", ["-std=c99", "-xc"]),
            Language::Cpp11 => ("g++", ["-std=c++11", "-xc++"]),
            Language::Cpp17 => ("g++", ["-std=c++17", "-xc++"]),
        };
        let fresh = program
            .directory
            .join(format!("program.{}", std::process::id()));
        let mut command = Command::new(compiler);
        command
            .args(standard)
            .args(WARNINGS)
            // As the header's chapter on secrets says: the loader's lazy binding stores the registers, and
            // with them what was copied last, on the stack. What is left there depends on the processor.
            .args(["-g", "-pthread", "-Wl,-z,now"])
            .args(words_of("CLOPOS_TEST_CFLAGS"))
            .arg("-I")
            .arg(root.join("include"))
            .args(sources.iter().map(|source| root.join(source)))
            .args(["-xnone", "-o"])
            .arg(&fresh);
        match linkage {
            Linkage::Shared => {
                // The loader looks for the library by its SONAME.
                let soname = program.directory.join("libclopos_auth.so.1");
                if let Err(error) = symlink(&library, soname) {
                    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
                }
                let rpath = format!("-Wl,-rpath,{}", program.directory.display());
                command.arg(&library).arg(rpath);
            }
            Linkage::Static => {
                command.arg(&library).args(STATIC_LIBRARIES);
            }
            Linkage::Loaded => {}
        }
        let output = run(command.args(options));
        assert!(output.status.success(), "{}", text(&output));
        fs::rename(fresh, program.path()).expect("the program can be put in its place");
        program
    }

    fn is_newer_than(&self, mut files: impl Iterator<Item = PathBuf>) -> bool {
        let changed = |path: &Path| fs::metadata(path).and_then(|file| file.modified());
        let Ok(made) = changed(&self.path()) else {
            return false;
        };
        files.all(|path| changed(&path).is_ok_and(|changed| changed < made))
    }

    fn path(&self) -> PathBuf {
        self.directory.join("program")
    }

    /// The names of the tests inside it.
    pub fn tests(&self) -> Vec<String> {
        let output = run(Command::new(self.path()).arg("--list"));
        assert!(output.status.success(), "{}", text(&output));
        let list = String::from_utf8(output.stdout).expect("names are ASCII");
        list.lines().map(String::from).collect()
    }

    /// Runs it with a sandbox.
    pub fn run(&self, sandbox: &Sandbox, arguments: &[&str]) -> Output {
        self.run_under(under(), sandbox, arguments)
    }

    /// Runs it by another command.
    pub fn run_under(&self, command: Command, sandbox: &Sandbox, arguments: &[&str]) -> Output {
        let output = run(&mut self.command_under(command, sandbox, arguments));
        note_secrets(sandbox).expect("CLOPOS_TEST_SECRETS can be written");
        output
    }

    pub fn command(&self, sandbox: &Sandbox, arguments: &[&str]) -> Command {
        self.command_under(under(), sandbox, arguments)
    }

    fn command_under(
        &self,
        mut command: Command,
        sandbox: &Sandbox,
        arguments: &[&str],
    ) -> Command {
        command
            .arg(self.path())
            .args(arguments)
            .env("CLOPOS_BASE_URL", sandbox.url())
            .env("CLOPOS_CLIENT_ID", CLIENT_ID)
            .env("CLOPOS_CLIENT_SECRET", CLIENT_SECRET)
            .env("CLOPOS_BRAND", TEST_BRAND)
            .env("CLOPOS_INTEGRATOR_ID", TEST_INTEGRATOR)
            .env("CLOPOS_TEST_CONTROL", sandbox.control_url())
            .env_remove("CLOPOS_CA_FILE")
            // A proxy of this machine cannot reach the sandbox.
            .env("NO_PROXY", "localhost")
            .env("no_proxy", "localhost");
        if !sandbox.ca_pem().is_empty() {
            command.env("CLOPOS_CA_FILE", self.ca_file(sandbox.ca_pem()));
        }
        command
    }

    /// Writes a CA to a file, for a program that this process runs.
    pub fn ca_file(&self, pem: &str) -> PathBuf {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ca-{}-{count}.pem", std::process::id());
        let path = self.directory.join(name);
        fs::write(&path, pem).expect("the CA can be written");
        path
    }
}

/// A program's folder: one for each library and set of options.
fn directory(name: &str) -> PathBuf {
    let mut variant = DefaultHasher::new();
    (libraries(), words_of("CLOPOS_TEST_CFLAGS")).hash(&mut variant);
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("c")
        .join(format!("{name}-{:016x}", variant.finish()));
    fs::create_dir_all(&directory).expect("a directory can be made");
    directory
}

/// A test that fails when it panics.
pub fn test(name: &str, body: impl Fn() + Send + 'static) -> Trial {
    Trial::test(name, move || {
        body();
        Ok(())
    })
}

/// The library's folder: the variable's, otherwise that of this test program.
pub fn libraries() -> PathBuf {
    match env::var_os("CLOPOS_TEST_LIBRARIES") {
        Some(path) => path.into(),
        None => {
            let program = env::current_exe().expect("this program has a path");
            program.parent().expect("it is in a directory").into()
        }
    }
}

pub fn run(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()))
}

pub fn text(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{}\n{out}{err}", output.status)
}

pub fn start(tls: bool) -> Sandbox {
    let settings = Settings {
        tls,
        ..Settings::default()
    };
    Sandbox::start(settings).expect("the sandbox starts")
}

/// The command that runs the programs: the variable's, otherwise `env`.
fn under() -> Command {
    let mut words = words_of("CLOPOS_TEST_UNDER").into_iter();
    let mut command = Command::new(words.next().unwrap_or("env".into()));
    command.args(words);
    command
}

fn words_of(variable: &str) -> Vec<OsString> {
    let words = env::var(variable).unwrap_or_default();
    words.split_whitespace().map(OsString::from).collect()
}

/// Appends the secrets that must not occur in the transcript to the variable's file.
pub fn note_secrets(sandbox: &Sandbox) -> std::io::Result<()> {
    let Some(path) = env::var_os("CLOPOS_TEST_SECRETS") else {
        return Ok(());
    };
    let mut lines = format!("{CLIENT_SECRET}\n");
    for token in sandbox.issued_tokens() {
        lines += &token;
        lines += "\n";
    }
    // One write: several of these programs may run at the same time.
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)?
        .write_all(lines.as_bytes())
}
