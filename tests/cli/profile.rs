//! `powerinfer profile`: counts, the file that it writes, and what it refuses.

use powerinfer::ActivationStatistics;
use tempfile::TempDir;

use super::support::{DEMO, code, file, json, printed, reference, run, stderr, stdout, text};

const STORY: &str = "Once upon a time there was a little girl. She had a red ball and a big dog. ";

/// A model of our own folder, and a text.
fn model_and_text(folder: &TempDir) -> (std::path::PathBuf, std::path::PathBuf) {
    let model = file(
        folder,
        "demo.gguf",
        std::fs::read(DEMO).expect("the demo model is in the repository"),
    );
    (model, file(folder, "story.txt", STORY.repeat(8)))
}

#[test]
fn counts_lie_beside_the_model_and_tell_the_same_as_the_report() {
    let folder = TempDir::new().unwrap();
    let (model, story) = model_and_text(&folder);
    let arguments =
        ["profile", "-m", text(&model), "-f", text(&story), "--ctx-size", "64", "--json"];
    let report = json(&run(&arguments));
    let path = ActivationStatistics::path_of(&model);
    assert_eq!(report["out"], text(&path));
    assert_eq!(report["strategy"], "exact");
    let statistics = ActivationStatistics::open(&path).unwrap();
    assert_eq!(report["tokens"].as_u64(), statistics.tokens());
    assert_eq!(report["fingerprint"], statistics.fingerprint().to_string());
    let layers = report["layers"].as_array().unwrap();
    assert_eq!(layers.len(), statistics.n_layers());
    for (index, layer) in layers.iter().enumerate() {
        let number = |key: &str| layer[key].as_f64().unwrap();
        let (ten, twenty, half) =
            (number("hottest_10"), number("hottest_20"), number("hottest_50"));
        assert!(0.1 < ten && ten < twenty && twenty < half && half <= 1.0, "{layer}");
        assert!((statistics.hottest_share(index, 0.2) - twenty).abs() < 1e-12, "{layer}");
        assert!((0.001..0.9).contains(&number("active_share")), "{layer}");
    }
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 3, "only the statistics were added");
}

#[test]
fn counts_do_not_depend_on_threads_or_batches_and_a_predictor_misses_some() {
    let folder = TempDir::new().unwrap();
    let (model, story) = model_and_text(&folder);
    let profile = |more: &[&str]| {
        let out = folder.path().join("out");
        let arguments = ["profile", "-m", text(&model), "-f", text(&story), "-o", text(&out)];
        printed(&[&arguments, more].concat());
        ActivationStatistics::open(out).unwrap()
    };
    let wanted = profile(&[]);
    for more in [&["-t", "3"][..], &["--batch", "7"], &["--strategy", "dense"]] {
        assert_eq!(profile(more).fingerprint(), wanted.fingerprint(), "{more:?}");
    }
    let sum = |statistics: &ActivationStatistics| statistics.layer(0).iter().sum::<f64>();
    assert!(sum(&profile(&["--strategy", "predictor"])) < sum(&wanted));
    let few = profile(&["--tokens", "10"]);
    assert_eq!(few.tokens(), Some(10));
    assert!(sum(&few) < sum(&wanted));
    assert!(
        few.layer(0).iter().all(|&count| count <= 10.0),
        "no neuron is needed twice by a token"
    );
}

#[test]
fn the_table_has_a_line_for_each_layer_and_names_the_file() {
    let folder = TempDir::new().unwrap();
    let (model, story) = model_and_text(&folder);
    let output = run(&["profile", "-m", text(&model), "-f", text(&story)]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let table = stdout(&output);
    assert_eq!(table.lines().filter(|line| line.contains('|')).count(), 6, "{table}");
    assert!(table.contains("demo.gguf.activations"), "{table}");
    assert!(table.contains("next: "), "{table}");
}

#[test]
fn what_cannot_be_counted_is_refused() {
    let folder = TempDir::new().unwrap();
    let (model, story) = model_and_text(&folder);
    let empty = file(&folder, "empty.txt", "");
    let no_text = run(&["profile", "-m", text(&model)]);
    let no_letters = run(&["profile", "-m", text(&model), "-f", text(&empty)]);
    let no_tokens = run(&["profile", "-m", text(&model), "-f", text(&story), "--tokens", "0"]);
    for output in [no_text, no_letters, no_tokens] {
        assert_eq!(code(&output), 2, "{}", stderr(&output));
    }
    let nowhere = folder.path().join("story.txt/x");
    let output = run(&["profile", "-m", text(&model), "-f", text(&story), "-o", text(&nowhere)]);
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    assert!(stderr(&output).contains("cannot write"), "{}", stderr(&output));
    let Some(dense) = reference("models/stories260K.gguf") else { return };
    for strategy in [&[][..], &["--strategy", "dense"]] {
        let arguments = ["profile", "-m", text(&dense), "-f", text(&story), "-o", text(&nowhere)];
        let output = run(&[&arguments, strategy].concat());
        assert_eq!(code(&output), 8, "{}", stderr(&output));
        let told = stderr(&output);
        assert!(told.contains("silu") && told.contains("nothing to count"), "{told}");
    }
}

#[test]
fn the_help_says_why_profiles_are_exact() {
    let help = printed(&["profile", "--help"]);
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("what it misses is not counted [default: exact]"), "{help}");
}
