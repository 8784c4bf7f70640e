//! `powerinfer plan`.

use powerinfer::synthetic::{Preset, SyntheticSpec};
use powerinfer::{GgufFile, GpuIndex};
use serde_json::Value;
use tempfile::TempDir;

use super::support::{DEMO, code, file, json, printed, run, stderr, text};

/// A budget that holds everything of the models here.
const AMPLE: &str = "4";

fn plan(model: &str, more: &[&str]) -> Value {
    let output = run(&[&["plan", "-m", model, "--json"], more].concat());
    assert_eq!(code(&output), 0, "{more:?}: {}", stderr(&output));
    json(&output)
}

/// Steps of prompts as short as they get: longer ones go before neurons where a budget is short.
const SHORT_STEPS: [&str; 2] = ["--batch", "32"];

/// A budget in GiB, some bytes below one that a plan with short steps names.
fn below(model: &str, named: &str, bytes: u64) -> String {
    let all = plan(model, &[&["--vram-budget", AMPLE][..], &SHORT_STEPS].concat())[named].as_u64();
    let all = all.expect("sizes are whole numbers");
    // Every such number of bytes is exact in an f64, and so is its division by a power of two.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let gib = (all - bytes) as f64 / f64::from(1 << 30);
    gib.to_string()
}

fn sum(plan: &Value, what: &str) -> u64 {
    let parts = plan["parts"].as_array().expect("parts are a list");
    parts.iter().map(|part| part[what].as_u64().expect("sizes are whole numbers")).sum()
}

#[test]
fn a_plan_tells_bytes_by_use_and_layer_and_sums_up() {
    let whole = plan(DEMO, &["--vram-budget", AMPLE]);
    let head = &whole["plan"];
    let device = head["device_bytes"].as_u64().unwrap();
    assert_eq!(device, whole["budget_for_all"].as_u64().unwrap());
    assert_eq!(sum(&whole, "device_bytes") + head["reserve"].as_u64().unwrap(), device);
    assert_eq!(whole["hot_share"], 1.0);
    assert_eq!(whole["advice"].as_array().unwrap().len(), 0);
    assert_eq!(whole["layers"].as_array().unwrap().len(), 6);
    let weights = sum(&whole, "bytes") - whole["parts"][1]["bytes"].as_u64().unwrap();
    let inspected = json(&run(&["inspect", DEMO, "--json"]));
    assert_eq!(weights, inspected["model"]["weight_bytes"], "all but the cache");

    let words = printed(&["plan", "-m", DEMO, "--vram-budget", AMPLE]);
    let parts = ["no statistics: neurons in file order", "100.0 %", "KV cache", "read by CPU"];
    for part in parts {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert!(words.contains(&device.to_string()), "{words}");
}

#[test]
fn a_short_budget_is_kept_and_advice_says_by_how_much_it_is_short() {
    let budget = below(DEMO, "budget_for_all", 500_000);
    let short = plan(DEMO, &["--vram-budget", &budget]);
    let head = &short["plan"];
    assert!(head["device_bytes"].as_u64() <= head["vram_budget"].as_u64(), "{head}");
    assert!(head["n_neurons"].as_u64() > Some(0), "{head}");
    assert!(short["hot_share"].as_f64() < Some(1.0), "{head}");
    assert_eq!(short["advice"].as_array().unwrap().len(), 1);
    let reads = &short["bytes_per_token"];
    assert!(reads["device"].as_f64() > Some(0.0) && reads["host"].as_f64() > Some(0.0), "{reads}");

    let nothing = printed(&["plan", "-m", DEMO, "--vram-budget", "0"]);
    assert!(nothing.contains("Nothing is placed"), "{nothing}");
    let cut = below(DEMO, "budget_for_all_but_neurons", 1);
    let cut = printed(&["plan", "-m", DEMO, "--vram-budget", &cut]);
    assert!(cut.contains("and nothing that comes after it"), "{cut}");
}

#[test]
fn what_a_strategy_does_not_read_leaves_room_for_neurons() {
    let budget = below(DEMO, "budget_for_all", 500_000);
    let budget = [&["--vram-budget", budget.as_str()][..], &SHORT_STEPS].concat();
    let with = |strategy| plan(DEMO, &[&budget[..], &["--strategy", strategy]].concat());
    let natural = plan(DEMO, &budget);
    assert_eq!(with("predictor"), natural);
    let number = |plan: &Value, name: &str| plan["plan"][name].as_u64().unwrap();
    for strategy in ["exact", "dense"] {
        let plan = with(strategy);
        assert_eq!(plan["plan"]["strategy"], strategy);
        assert_eq!(
            (&plan["parts"][2]["part"], &plan["parts"][2]["bytes"]),
            (&"predictor".into(), &0.into())
        );
        assert!(number(&plan, "reserve") < number(&natural, "reserve"), "scratch of the predictor");
        assert!(number(&plan, "n_neurons") > number(&natural, "n_neurons"));
        assert!(number(&plan, "device_bytes") <= number(&plan, "vram_budget"));
    }
    let words = printed(&["plan", "-m", DEMO, "--vram-budget", AMPLE, "--strategy", "exact"]);
    assert!(words.contains("  strategy          exact\n"), "{words}");
}

#[test]
fn the_budget_comes_from_the_card_and_never_exceeds_it() {
    let of_card = plan(DEMO, &["--vram", "4"]);
    let budget = (4_u64 << 30) - (256 << 20);
    assert_eq!(of_card["plan"]["vram_budget"], budget);
    for (arguments, part) in [
        (&["--vram", "4", "--vram-budget", "4.5"][..], "more than the --vram"),
        (&[], "--vram-budget"),
        (&["--vram-budget", "-1"], "0 to 65536 GiB"),
        (&["--vram-budget", "nan"], "0 to 65536 GiB"),
        (&["--vram-budget", "8G"], "a number of GiB"),
    ] {
        let output = run(&[&["plan", "-m", DEMO], arguments].concat());
        assert_eq!(code(&output), 2, "{arguments:?}");
        assert!(stderr(&output).contains(part), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn a_longer_context_and_a_larger_batch_take_their_room() {
    let reserve = |more: &[&str]| {
        let plan = plan(DEMO, &[&["--vram-budget", AMPLE], more].concat());
        (plan["plan"]["reserve"].as_u64().unwrap(), plan["parts"][1]["bytes"].as_u64().unwrap())
    };
    let (small_scratch, small_cache) = reserve(&["--batch", "1", "--ctx-size", "128"]);
    let (large_scratch, large_cache) = reserve(&["--batch", "128", "--ctx", "256"]);
    assert!(large_scratch > small_scratch);
    assert_eq!(large_cache, 2 * small_cache);
    let (_, wide_cache) = reserve(&["--ctx-size", "256", "--kv-type", "f32"]);
    assert_eq!(wide_cache, 2 * large_cache);
}

fn with_index<'a>(budget: &[&'a str], index: &'a str) -> Vec<&'a str> {
    [budget, &["--gpu-index", index]].concat()
}

#[test]
fn an_index_is_saved_read_and_refused_where_it_cannot_be_meant() {
    let folder = TempDir::new().unwrap();
    let model = folder.path().join("tiny.gguf");
    let spec = SyntheticSpec::preset(Preset::Tiny);
    spec.write(&model).unwrap();
    let index = folder.path().join("tiny.generated.gpuidx");
    let budget = below(text(&model), "budget_for_all", 600_000);
    let budget = ["--vram-budget", budget.as_str()];
    let save = [&budget[..], &["--save-gpu-index", text(&index)]].concat();
    let made = plan(text(&model), &save);
    assert_eq!(made["plan"]["gpu_index"], "none");
    let n_neurons = made["plan"]["n_neurons"].as_u64().unwrap();
    assert!(n_neurons > 0 && n_neurons < 2 * 1280, "{n_neurons}");

    let container = GgufFile::open(&index).unwrap();
    let names: Vec<String> = container.tensors().map(|tensor| tensor.unwrap().name).collect();
    let wanted = ["blk.0.gpu_idx", "blk.0.gpu_bucket", "blk.1.gpu_idx", "blk.1.gpu_bucket"];
    assert_eq!(names, wanted);

    let used = plan(text(&model), &with_index(&budget, text(&index)));
    assert_eq!(used["plan"]["gpu_index"], "used");
    assert_eq!(used["layers"], made["layers"]);
    assert_eq!(used["neurons_by"], "the GPU index");

    // Of the same shape, but another model.
    let other = folder.path().join("other.gguf");
    SyntheticSpec { seed: 2, ..spec }.write(&other).unwrap();
    let output =
        run(&[&["plan", "-m", text(&other)], &with_index(&budget, text(&index))[..]].concat());
    assert_eq!(code(&output), 0);
    assert!(stderr(&output).contains("made for another model"), "{}", stderr(&output));

    let whole = std::fs::read(&index).unwrap();
    let cut = file(&folder, "cut.gpuidx", &whole[..whole.len() - 40]);
    let refusals = [(text(&cut), 6, "incomplete"), ("none.gpuidx", 4, "none.gpuidx")];
    for (index, wanted, part) in refusals {
        let output =
            run(&[&["plan", "-m", text(&model)], &with_index(&budget, index)[..]].concat());
        assert_eq!(code(&output), wanted, "{}", stderr(&output));
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
    // Another shape, and a budget below that of the index.
    let other = plan(DEMO, &with_index(&budget, text(&index)));
    assert_eq!(other["plan"]["gpu_index"], "stale", "as it says for which model it was made");
    let arguments = ["plan", "-m", text(&model), "--vram-budget", "0.1", "--gpu-index"];
    let output = run(&[&arguments[..], &[text(&index)]].concat());
    assert_eq!(code(&output), 7);
    assert!(stderr(&output).contains("the budget leaves 0"), "{}", stderr(&output));
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 4, "nothing lies beside the files");
}

#[test]
fn an_index_beside_the_model_is_treated_as_a_load_does() {
    let folder = TempDir::new().unwrap();
    let model = folder.path().join("tiny.gguf");
    let spec = SyntheticSpec::preset(Preset::Tiny);
    spec.write(&model).unwrap();
    let index = GpuIndex::path_of(&model);
    let model = text(&model);
    let budget = below(model, "budget_for_all", 600_000);
    let budget = ["--vram-budget", budget.as_str()];
    let made = plan(model, &[&budget[..], &["--save-gpu-index", text(&index)]].concat());
    assert_eq!((&made["plan"]["gpu_index"], &made["gpu_index"]), (&"none".into(), &Value::Null));

    let told = |more: &[&str]| {
        let arguments = [&["plan", "-m", model][..], &budget, more].concat();
        (plan(model, &arguments[3..])["plan"]["gpu_index"].clone(), printed(&arguments))
    };
    let (state, words) = told(&[]);
    assert_eq!(state, "used");
    assert!(words.contains(&format!("{}: fresh", text(&index))), "{words}");
    let of_index = plan(model, &budget);
    assert_eq!(of_index["gpu_index"], text(&index));
    assert_eq!(of_index["layers"], made["layers"]);

    let disabled = plan(model, &["--vram-budget", AMPLE, "--disable-gpu-index"]);
    let head = &disabled["plan"];
    assert_eq!((&head["gpu_index"], &head["n_neurons"]), (&"none".into(), &0.into()));
    assert_eq!(head["vram_budget"], 4_u64 << 30, "that was given");
    assert_eq!(head["device_bytes"], disabled["budget_for_all_but_neurons"]);
    let advice = disabled["advice"].to_string();
    assert!(advice.contains("--disable-gpu-index says so"), "{advice}");
    for other in ["--gpu-index", "--statistics", "--save-gpu-index"] {
        let output = run(&["plan", "-m", model, "--vram", "1", "--disable-gpu-index", other, "x"]);
        assert_eq!(code(&output), 2, "{other}: {}", stderr(&output));
    }

    // Made for another model, and not for any.
    let other = file(&folder, "other", std::fs::read(&index).unwrap());
    SyntheticSpec { seed: 2, ..spec }.write(std::path::Path::new(model)).unwrap();
    let (state, words) = told(&[]);
    assert_eq!(state, "stale");
    assert!(words.contains("stale") && words.contains("a load writes them there"), "{words}");
    assert_eq!(std::fs::read(&index).unwrap(), std::fs::read(&other).unwrap(), "a plan does not");
    std::fs::write(&index, "PWRI").unwrap();
    let arguments = [&["plan", "-m", model][..], &budget].concat();
    let refused = run(&arguments);
    assert_ne!(code(&refused), 0);
    let words = stderr(&refused);
    assert!(words.contains(text(&index)) && words.contains("reset the GPU index"), "{words}");
    let (state, _) = told(&["--gpu-index", text(&other)]);
    assert_eq!(state, "stale", "a named one is looked at instead");
}

#[test]
fn statistics_beside_the_model_choose_the_neurons() {
    let folder = TempDir::new().unwrap();
    let demo = std::fs::read(DEMO).expect("the demo model is in the repository");
    let model = file(&folder, "demo.gguf", demo);
    let model = text(&model);
    let budget = below(model, "budget_for_all", 500_000);
    let blind = plan(model, &["--vram-budget", &budget]);
    assert_eq!(blind["neurons_by"], "no statistics: neurons in file order");

    let story = file(&folder, "story.txt", "Once upon a time there was a red ball. ".repeat(8));
    printed(&["profile", "-m", model, "-f", text(&story)]);
    let told = plan(model, &["--vram-budget", &budget]);
    assert_eq!(told["neurons_by"], "statistics");
    assert_eq!(told["plan"]["has_counts"], true);
    let share = |plan: &Value| plan["plan"]["activation_share"].as_f64().unwrap();
    assert!(share(&told) > share(&blind), "{} {}", share(&told), share(&blind));
    assert!(share(&told) > told["hot_share"].as_f64().unwrap());
    let named = format!("{model}.activations");
    assert_eq!(plan(model, &["--vram-budget", &budget, "--statistics", &named]), told);

    let other = file(&folder, "other.activations", "{}");
    let arguments = ["plan", "-m", model, "--vram-budget", "1", "--statistics", text(&other)];
    let output = run(&arguments);
    assert_ne!(code(&output), 0);
    assert!(stderr(&output).contains("other.activations"), "{}", stderr(&output));
}
