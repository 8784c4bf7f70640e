//! The scripts that measure.

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use super::support::{code, stderr, stdout, text};

fn compare(folder: &TempDir, arguments: &[&str]) -> Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/compare.sh");
    let mut command = Command::new("bash");
    command.arg(script).args(arguments).current_dir(folder.path());
    command.output().expect("bash runs")
}

#[test]
fn compare_runs_both_in_turn_and_tells_medians_ranges_and_the_ratio() {
    let folder = TempDir::new().unwrap();
    // The n-th run of ours gives 10 n, the first of which does not count.
    let ours = "echo ours >>log; echo \"{ \\\"decode_tokens_per_second_range\\\": [1, 2], \
                \\\"decode_tokens_per_second\\\": $(grep -c ours log)0.0 }\"";
    let peer =
        "echo peer >>log; echo 'prompt: 900.5 tokens per second'; echo 'eval: 1e1 tok/s' >&2";
    let output = compare(&folder, &["-n", "3", "--", ours, peer]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    assert_eq!(log, "ours\npeer\n".repeat(4));
    let text = stdout(&output);
    for line in [
        "round 1 of 3: ours 20.00, peer 10.00 tok/s",
        "ours   median 30.00 tok/s (20.00 to 40.00)",
        "peer   median 10.00 tok/s (10.00 to 10.00)",
        "ratio  3.000 of the medians (2.000 to 4.000 by round)",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
}

#[test]
fn compare_takes_numbers_as_it_is_told() {
    let folder = TempDir::new().unwrap();
    let arguments = ["-n", "2", "-k", "speed=([0-9]+)", "-K", "\"avg_ts\": ([0-9.]+)"];
    let commands = ["--", "echo speed=6", "echo '[{\"avg_ts\": 2.5}]'"];
    let output = compare(&folder, &[&arguments[..], &commands].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).contains("ratio  2.400 "), "{}", stdout(&output));
}

#[test]
fn compare_tells_what_it_cannot_use() {
    let folder = TempDir::new().unwrap();
    let good = "echo 5 tok/s";
    for (arguments, status, wanted) in [
        (&[good][..], 2, "want two commands"),
        (&["-n", "0", good, good], 2, "at least 1"),
        (&["-x", good, good], 2, "unknown option -x"),
        (&["-k", "tok/s", good, good], 2, "want a group"),
        (&["-K", "(tok/s", good, good], 2, "no valid extended regular expression"),
        (&[good, good], 1, "ours: want a number"),
        (&["-k", "([0-9]+) tok", good, "echo no; exit 3"], 1, "peer failed with status 3"),
        (&["-k", "([a-z]+)", good, good], 1, "found s"),
        (&["-k", "([0-9]+)", "echo 0", good], 1, "above 0"),
    ] {
        let output = compare(&folder, arguments);
        assert_eq!(code(&output), status, "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(wanted), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn instructions_tells_that_valgrind_is_missing() {
    let folder = TempDir::new().unwrap();
    let dirname = ["/usr/bin/dirname", "/bin/dirname"].into_iter();
    let dirname = dirname.map(Path::new).find(|path| path.exists()).expect("dirname");
    std::os::unix::fs::symlink(dirname, folder.path().join("dirname")).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/instructions.sh");
    // Bash is found on our own path, and finds nothing but dirname itself.
    let command = "PATH=\"$1\" exec \"$BASH\" \"$2\"";
    let arguments = ["-c", command, "bash", text(folder.path()), script];
    let output = Command::new("bash").args(arguments).output().expect("bash runs");
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    assert!(stderr(&output).contains("valgrind is missing; install it"), "{}", stderr(&output));
}
