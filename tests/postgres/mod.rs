//! A throwaway PostgreSQL: Debian's server, a data directory of its own, gone with the test.

#![allow(dead_code, clippy::allow_attributes, reason = "two suites share it, and neither needs all of it")]

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The admin's name and password.
pub const ADMIN: (&str, &str) = ("admin", "admins-own-password");

/// A running server.
pub struct Postgres {
    dir: tempfile::TempDir,
    bin: PathBuf,
    uid: Option<(u32, u32)>,
    pub port: u16,
}

/// Where the server's programs are: the newest of /usr/lib/postgresql, else on PATH.
fn programs() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path().join("bin"))
        .filter(|p| p.join("initdb").is_file())
        .collect();
    found.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    found.pop().or_else(|| std::env::split_paths(&path).find(|p| p.join("initdb").is_file()))
}

/// PostgreSQL refuses to run as root: its own user, else nobody.
fn other_user() -> Option<(u32, u32)> {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let of = |name: &str| {
        let line = users.lines().find(|l| l.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    of("postgres").or_else(|| of("nobody"))
}

/// A CA's certificate, and the server's with its key.
fn certificates() -> (String, String, String) {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, "the test's CA");
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = Issuer::from_ca_cert_pem(&ca_pem, &ca_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    (ca_pem, certificate.pem(), key.serialize_pem())
}

impl Postgres {
    /// Starts one, or says that none is installed.
    pub fn start() -> Postgres {
        let bin = programs().unwrap_or_else(|| {
            panic!("no PostgreSQL server is installed: these tests need one (Debian's package `postgresql`)")
        });
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let uid = other_user();
        let data = dir.path().join("data");
        std::fs::create_dir(&data).unwrap();
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).unwrap();
        std::fs::write(dir.path().join("password"), ADMIN.1).unwrap();
        if let Some((uid, gid)) = uid {
            for path in [dir.path(), &data] {
                chown(path, Some(uid), Some(gid)).unwrap();
            }
        }
        let (ca, certificate, key) = certificates();
        std::fs::write(dir.path().join("ca.pem"), ca).unwrap();
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            if let Some((uid, gid)) = uid {
                chown(&path, Some(uid), Some(gid)).unwrap();
            }
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Postgres { dir, bin, uid, port };
        let password = server.dir.path().join("password");
        server.program(
            "initdb",
            &[
                "--pgdata".as_ref(),
                data.as_os_str(),
                "--username=admin".as_ref(),
                "--auth=scram-sha-256".as_ref(),
                "--no-sync".as_ref(),
                "--pwfile".as_ref(),
                password.as_os_str(),
            ],
        );
        let options = format!(
            "-p {port} -k {0} -c listen_addresses=127.0.0.1 -c fsync=off -c log_statement=all -c ssl=on \
             -c ssl_cert_file={0}/server.crt -c ssl_key_file={0}/server.key",
            server.dir.path().display()
        );
        let log = server.dir.path().join("log");
        server.program(
            "pg_ctl",
            &[
                "--pgdata".as_ref(),
                data.as_os_str(),
                "--wait".as_ref(),
                "--log".as_ref(),
                log.as_os_str(),
                "--options".as_ref(),
                options.as_ref(),
                "start".as_ref(),
            ],
        );
        server
    }

    fn program(&self, name: &str, arguments: &[&std::ffi::OsStr]) {
        let mut command = Command::new(self.bin.join(name));
        command.args(arguments).env("LC_ALL", "C").current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
        if let Some((uid, gid)) = self.uid {
            command.uid(uid).gid(gid);
        }
        let status = command.status().unwrap();
        assert!(status.success(), "{name}: {status}");
    }

    /// The URL that quell is given.
    pub fn url(&self) -> String {
        format!("postgres://{}@127.0.0.1:{}/postgres?sslmode=disable", ADMIN.0, self.port)
    }

    /// The same in TLS, and the CA's file that its certificate comes from.
    pub fn url_in_tls(&self) -> (String, PathBuf) {
        (format!("postgres://{}@127.0.0.1:{}/postgres", ADMIN.0, self.port), self.dir.path().join("ca.pem"))
    }

    /// All that the server logged: every statement.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// A file with the admin's password that only its owner may read.
    pub fn password_file(&self, folder: &Path) -> PathBuf {
        let path = folder.join("admin-password");
        std::fs::write(&path, format!("{}\n", ADMIN.1)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// Logs in.
    pub async fn login(&self, user: &str, password: &str) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port).dbname("postgres").user(user).password(password);
        let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
        tokio::spawn(async move { drop(connection.await) });
        Ok(client)
    }

    /// Whether a login is refused for what it is, not for something else.
    pub async fn refuses(&self, user: &str, password: &str) -> bool {
        match self.login(user, password).await {
            Ok(_) => false,
            Err(error) => {
                let code = error.code().unwrap_or_else(|| panic!("{error}")).code().to_owned();
                assert!(code.starts_with("28"), "{code}");
                true
            }
        }
    }

    /// Statements of the admin's.
    pub async fn admin(&self, sql: &str) {
        self.login(ADMIN.0, ADMIN.1).await.unwrap().batch_execute(sql).await.unwrap();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let mut command = Command::new(self.bin.join("pg_ctl"));
        command.args(["--mode=immediate", "--pgdata"]).arg(self.dir.path().join("data")).arg("stop").current_dir("/");
        if let Some((uid, gid)) = self.uid {
            command.uid(uid).gid(gid);
        }
        let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}
