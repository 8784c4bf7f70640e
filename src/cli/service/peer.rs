//! Who listens at an address: one of our servers, or somebody else.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use powerinfer_server::Digests;
use serde::Deserialize;
use serde_json::Value;

/// How long somebody who is no server of ours may take.
const LIMIT: Duration = Duration::from_secs(3);
/// No answer that is looked at here is longer, in bytes.
const MAX_ANSWER: u64 = 64 << 10;

/// Who listens.
#[derive(Debug)]
pub(in super::super) enum Peer {
    Nobody,
    Ours(Version),
    WantsKey,
    Other,
}

/// What `/version` of our server says.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Version {
    engine: String,
    pub(in super::super) pid: u32,
    pub(in super::super) model: Option<String>,
    #[serde(default)]
    pub(in super::super) settings: Digests,
}

/// A process that listens on a port.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) pid: u32,
    name: String,
}

/// Looks who listens at an address.
pub(in super::super) fn look(address: SocketAddr, key: Option<&str>) -> Peer {
    match get(address, "/version", key) {
        Ok((200, body)) => read_version(body).map_or(Peer::Other, Peer::Ours),
        Ok((401, _)) => Peer::WantsKey,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Peer::Nobody,
        Ok(_) | Err(_) => Peer::Other,
    }
}

/// What our server at an address says of itself.
pub(super) fn version(address: SocketAddr, key: Option<&str>) -> io::Result<Version> {
    let (_, body) = get(address, "/version", key)?;
    read_version(body).ok_or_else(|| io::Error::other("no powerinfer server"))
}

fn read_version(body: Value) -> Option<Version> {
    let version: Version = serde_json::from_value(body).ok()?;
    (version.engine == "powerinfer").then_some(version)
}

/// Status and JSON body of a path; null for a body that is no JSON.
pub(super) fn get(address: SocketAddr, path: &str, key: Option<&str>) -> io::Result<(u16, Value)> {
    let start = Instant::now();
    let mut stream = TcpStream::connect_timeout(&reachable(address), LIMIT)?;
    stream.set_write_timeout(Some(LIMIT))?;
    let key = key.map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{key}\r\n");
    stream.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    let mut stream = stream.take(MAX_ANSWER);
    let mut block = [0; 4096];
    loop {
        let left = LIMIT.checked_sub(start.elapsed()).filter(|left| !left.is_zero());
        stream.get_ref().set_read_timeout(Some(left.ok_or(io::ErrorKind::TimedOut)?))?;
        match stream.read(&mut block)? {
            0 => break,
            n => answer.extend_from_slice(&block[..n]),
        }
    }
    parse(&String::from_utf8_lossy(&answer)).ok_or_else(|| io::Error::other("no HTTP"))
}

fn parse(answer: &str) -> Option<(u16, Value)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some((status, serde_json::from_str(body).unwrap_or(Value::Null)))
}

/// An address of this machine in the place of all addresses.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// The process that listens on a port, in words.
pub(in super::super) fn describe_owner(port: u16) -> String {
    match owner(port) {
        Some(Owner { pid, name }) => format!("process {pid} ({name})"),
        None => "another process (which one is unknown here)".to_owned(),
    }
}

/// The process that listens on a port, where the system tells it and it may be seen.
pub(super) fn owner(port: u16) -> Option<Owner> {
    let sockets: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .flat_map(|table| listeners(&table, port))
        .collect();
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let pid = pids.find(|pid: &u32| holds(*pid, &sockets))?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(Owner { pid, name: name.trim().to_owned() })
}

/// Whether a process has one of these sockets.
fn holds(pid: u32, sockets: &[String]) -> bool {
    let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files.flatten().filter_map(|file| std::fs::read_link(file.path()).ok()).any(|target| {
        target.to_str().is_some_and(|target| sockets.iter().any(|socket| socket == target))
    })
}

/// The sockets that listen on a port, by a table of the kernel, as `/proc/PID/fd` names them.
fn listeners(table: &str, port: u16) -> Vec<String> {
    const LISTENS: &str = "0A";
    let socket = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let (_, local) = columns.get(1)?.rsplit_once(':')?;
        let is_meant =
            u16::from_str_radix(local, 16) == Ok(port) && columns.get(3) == Some(&LISTENS);
        is_meant.then(|| columns.get(9).map(|inode| format!("socket:[{inode}]")))?
    };
    table.lines().skip(1).filter_map(socket).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_found_in_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1\n\
             1: 0100007F:1F91 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1\n\
             2: 0100007F:1F92 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4713 1\n";
        assert_eq!(listeners(table, 8081), ["socket:[4711]"]);
        assert!(listeners("", 8081).is_empty());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_owns_its_listener_and_is_no_server() {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(owner(address.port()).unwrap().pid, std::process::id());
        let answer = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"220 mail\r\n\r\n").unwrap();
        });
        assert!(matches!(look(address, None), Peer::Other));
        answer.join().unwrap();
        assert!(matches!(look(address, None), Peer::Nobody));
    }

    #[test]
    fn answers_are_read() {
        let answer = "HTTP/1.1 503 Service Unavailable\r\nx: y\r\n\r\n{\"a\": 1}";
        assert_eq!(parse(answer), Some((503, serde_json::json!({ "a": 1 }))));
        assert_eq!(parse("HTTP/1.1 200 OK\r\n\r\nhello"), Some((200, Value::Null)));
        assert_eq!(parse("SSH-2.0"), None);
    }
}
