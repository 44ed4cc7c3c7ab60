//! What is no file of the folder.

use std::os::unix::fs::symlink;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::{get, serve};
use crate::support::client::Client;
use crate::support::folder::Folder;

/// What no answer may hold.
const SECRET: &str = "the secret beside the folder";

#[test]
fn nothing_outside_of_the_folder_is_served() {
    let folder = Folder::new();
    folder.write("secret.txt", SECRET).write("public/sub/a.txt", "a").write("public/index.html", "home");
    folder
        .write("public/.env", SECRET)
        .write("public/.git/config", SECRET)
        .write("public/sub/.hidden", SECRET);
    folder.write("public/.well-known/security.txt", "contact");
    symlink("../secret.txt", folder.at("public/out.txt")).unwrap();
    symlink(folder.path(""), folder.at("public/up")).unwrap();
    symlink("/proc/self/environ", folder.at("public/environ")).unwrap();
    symlink("sub/a.txt", folder.at("public/in.txt")).unwrap();
    symlink(folder.path("public/sub"), folder.at("public/absolute")).unwrap();
    symlink("loop", folder.at("public/loop")).unwrap();
    let server = serve(&folder, &[]);
    for path in [
        "/../secret.txt",
        "/sub/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/.%2E/secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e%2fsecret.txt",
        "/sub/..%5c..%5csecret.txt",
        "/..%00/secret.txt",
        "/..%00",
        "/index.html%00.txt",
        "/%c0%ae%c0%ae/secret.txt",
        "/sub//a.txt",
        "//sub/a.txt",
        "/sub/%",
        "/a%0d%0aX-Split:%201",
    ] {
        let answer = get(&server, path, &[]);
        answer.assert_refusal(400, "INVALID_PATH");
        assert_eq!(answer.field("x-split"), None);
    }
    for path in [
        "/.env",
        "/%2eenv",
        "/.git/config",
        "/sub/.hidden",
        "/out.txt",
        "/up/secret.txt",
        "/environ",
        "/loop",
        "/index.html/",
        "/index.html/x",
        "/%252e%252e/secret.txt",
    ] {
        get(&server, path, &[]).assert_refusal(404, "NOT_FOUND");
    }
    // Links that stay within are followed, and one name with a dot is everybody's.
    for path in ["/in.txt", "/absolute/a.txt"] {
        assert_eq!(get(&server, path, &[]).body, b"a", "{path}");
    }
    assert_eq!(get(&server, "/.well-known/security.txt", &[]).body, b"contact");
    let all = server.stdout().join("\n");
    assert!(!all.contains(SECRET));
}

#[test]
fn a_path_as_bytes_names_a_file_or_is_refused() {
    let folder = Folder::new();
    folder.write("public/caf\u{e9}.txt", "coffee");
    let server = serve(&folder, &[]);
    for path in ["/caf%C3%A9.txt", "/caf%c3%a9.txt", "/caf\u{e9}.txt"] {
        let mut client = Client::open(server.address);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: nessen.test\r\n\r\n").as_bytes());
        let answer = client.answer();
        assert_eq!((answer.status, answer.body.as_slice()), (200, b"coffee".as_slice()), "{path}");
    }
    get(&server, "/caf%E9.txt", &[]).assert_refusal(400, "INVALID_PATH");
}

#[test]
fn a_pipe_is_no_file_and_holds_up_nobody() {
    let folder = Folder::new();
    folder.write("public/a.txt", "a");
    mknodat(CWD, folder.at("public/pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let server = serve(&folder, &[]);
    for _ in 0..20 {
        get(&server, "/pipe", &[]).assert_refusal(404, "NOT_FOUND");
    }
    assert_eq!(get(&server, "/a.txt", &[]).body, b"a");
}
