//! Codecs as they are published, with the examples that stand beside them.
//!
//! `TOWNHUB_CODEC_CORPUS=/path cargo test --test hub published -- --nocapture` runs every codec of a folder in the layout of
//! The Things Network's device repository: `vendor/<vendor>/<codec>.yaml` with `uplinkDecoder`, `downlinkEncoder` and
//! `downlinkDecoder`, each a `fileName` and `examples`. It prints what came out otherwise, and the share that did not.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value, json};
use townhub::codec::{Answer, Codec, Function, Job, Outcome, Worker};
use townhub::model::Timestamp;

/// What must pass: V8 itself reaches 99.18 % of the public examples, some of which contradict their codecs.
const TARGET: f64 = 0.991;

/// When a frame is received whose example does not say.
const AT: Timestamp = Timestamp::from_secs(1_790_000_000);

#[test]
fn a_corpus_of_published_codecs_gives_the_published_values() {
    let Some(folder) = std::env::var_os("TOWNHUB_CODEC_CORPUS") else {
        eprintln!("skipped: TOWNHUB_CODEC_CORPUS names no folder of codecs");
        return;
    };
    let examples = read_corpus(Path::new(&folder));
    assert!(!examples.is_empty(), "no examples below {}", folder.display());
    let codecs =
        examples.iter().map(|e| e.job.codec.id()).collect::<std::collections::HashSet<_>>();
    let mut worker = Worker::new(Some(env!("CARGO_BIN_EXE_townhub").into()));
    let jobs: Vec<Job> = examples.iter().map(|example| example.job.clone()).collect();
    let outcomes = worker.run(&jobs);
    let mut passed = 0;
    for (example, outcome) in examples.iter().zip(&outcomes) {
        match example.difference(outcome) {
            None => passed += 1,
            Some(difference) => println!("{}: {difference}", example.name),
        }
    }
    let share = passed as f64 / examples.len() as f64;
    println!(
        "{passed} of {} examples of {} codecs pass: {:.2} %",
        examples.len(),
        codecs.len(),
        share * 100.0
    );
    assert!(share >= TARGET, "{share}");
}

#[test]
fn an_example_is_compared_as_its_repository_means_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let vendor = folder.path().join("vendor/x");
    std::fs::create_dir_all(&vendor).expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(vendor.join(name), text).expect("written");
    write(
        "a.js",
        "function decodeUplink(i) { if (i.bytes.length < 2) return { errors: ['short'] }; \
        return { data: { n: i.bytes[0] / 10, at: i.recvTime }, warnings: [] } }
        function encodeDownlink(i) { return { bytes: [i.data.n], fPort: 3 } }",
    );
    write(
        "a-codec.yaml",
        "
uplinkDecoder:
  fileName: a.js
  examples:
    - description: good
      input: { fPort: 1, bytes: [0x1F, 2], recvTime: '2020-08-02T20:00:00.000+05:00' }
      output: { data: { n: 3.1, at: '2020-08-02T15:00:00.000Z' } }
    - description: refused
      input: { fPort: 1, bytes: [1] }
      output: { errors: [short] }
    - description: wrong
      input: { fPort: 1, bytes: [1, 2] }
      output: { data: { n: 2 } }
downlinkEncoder:
  fileName: a.js
  examples:
    - description: down
      input: { data: { n: 7 } }
      output: { bytes: [7], fPort: 3 }
",
    );
    write("a.yaml", "name: no codec\n");
    let examples = read_corpus(folder.path());
    let jobs: Vec<Job> = examples.iter().map(|example| example.job.clone()).collect();
    let outcomes = Worker::new(None).run(&jobs);
    let differences: Vec<_> =
        examples.iter().zip(&outcomes).filter_map(|(e, o)| e.difference(o)).collect();
    assert_eq!(examples.len(), 4);
    assert_eq!(differences.len(), 1, "{differences:?}");
    assert!(differences[0].contains("expected {\"n\":2}"), "{differences:?}");
}

struct Example {
    name: String,
    job: Job,
    output: Value,
}

impl Example {
    /// What came out otherwise than the example says.
    fn difference(&self, outcome: &Outcome) -> Option<String> {
        let errors = self.output.get("errors").and_then(Value::as_array);
        if errors.is_some_and(|errors| !errors.is_empty()) {
            let is_refused = outcome.as_ref().is_err_and(|error| error.reason() == "codec_error");
            return (!is_refused).then(|| format!("expected errors, found {outcome:?}"));
        }
        let (expected, found) = match outcome {
            Ok(Answer::Data { json, .. }) => {
                let found = serde_json::from_str(json).unwrap_or(Value::Null);
                (self.output.get("data").cloned().unwrap_or(Value::Null), found)
            }
            Ok(Answer::Frame { port, bytes, .. }) => {
                let expected = json!([self.output.get("fPort"), self.output.get("bytes")]);
                (expected, json!([port, bytes]))
            }
            Err(error) => return Some(format!("{}: {error}", error.reason())),
        };
        (!is_same(&expected, &found)).then(|| format!("expected {expected}, found {found}"))
    }
}

/// Equal as JSON: a number is what it is worth, a member that is null may be left out.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap_or(f64::NAN), b.as_f64().unwrap_or(f64::NAN));
            (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(f64::MIN_POSITIVE)
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let covers = |a: &Map<String, Value>, b: &Map<String, Value>| {
                a.iter().all(|(key, value)| is_same(value, b.get(key).unwrap_or(&Value::Null)))
            };
            covers(a, b) && covers(b, a)
        }
        _ => a == b,
    }
}

fn read_corpus(folder: &Path) -> Vec<Example> {
    let vendors = std::fs::read_dir(folder.join("vendor")).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = vendors
        .flat_map(|vendor| std::fs::read_dir(vendor.path()).into_iter().flatten().flatten())
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    files.iter().flat_map(|file| read_examples(file)).collect()
}

fn read_examples(file: &Path) -> Vec<Example> {
    let Ok(text) = std::fs::read_to_string(file) else { return Vec::new() };
    let Ok(documents) = Yaml::load_from_str(&text) else {
        println!("{}: no YAML", file.display());
        return Vec::new();
    };
    let Some(document) = documents.first().map(to_json) else { return Vec::new() };
    let parts = [
        ("uplinkDecoder", Function::DecodeUplink),
        ("downlinkEncoder", Function::EncodeDownlink),
        ("downlinkDecoder", Function::DecodeDownlink),
    ];
    let mut examples = Vec::new();
    for (key, function) in parts {
        let Some(part) = document.get(key) else { continue };
        let Some(name) = part.get("fileName").and_then(Value::as_str) else { continue };
        let Ok(source) = std::fs::read_to_string(file.with_file_name(name)) else {
            println!("{}: {name} is not there", file.display());
            continue;
        };
        let codec = Arc::new(Codec::new(name, &source));
        let all = part.get("examples").and_then(Value::as_array).into_iter().flatten();
        examples.extend(all.filter_map(|example| read_example(file, &codec, function, example)));
    }
    examples
}

fn read_example(
    file: &Path,
    codec: &Arc<Codec>,
    function: Function,
    example: &Value,
) -> Option<Example> {
    let description = example.get("description").and_then(Value::as_str).unwrap_or_default();
    let input = example.get("input")?;
    let bytes = match function {
        Function::EncodeDownlink => input.get("data")?.to_string().into_bytes(),
        _ => {
            let bytes = input.get("bytes")?.as_array()?;
            bytes
                .iter()
                .map(|byte| byte.as_u64().and_then(|byte| u8::try_from(byte).ok()))
                .collect::<Option<_>>()?
        }
    };
    let port = input.get("fPort").and_then(Value::as_u64).unwrap_or(1);
    let time = input.get("recvTime").and_then(Value::as_str).and_then(|time| time.parse().ok());
    let job = Job {
        codec: Arc::clone(codec),
        function,
        port: u8::try_from(port).ok()?,
        at: time.unwrap_or(AT),
        input: bytes.into(),
        device: None,
        is_timed: time.is_some(),
        radio: "".into(),
    };
    let name = format!("{} {} {description:?}", file.display(), function.as_str());
    Some(Example { name, job, output: example.get("output")?.clone() })
}

fn to_json(yaml: &Yaml<'_>) -> Value {
    match yaml {
        Yaml::Value(Scalar::Integer(n)) => json!(n),
        Yaml::Value(Scalar::FloatingPoint(x)) => json!(x.into_inner()),
        Yaml::Value(Scalar::String(text)) => json!(text),
        Yaml::Value(Scalar::Boolean(b)) => json!(b),
        Yaml::Sequence(all) => all.iter().map(to_json).collect(),
        Yaml::Mapping(all) => {
            let key = |key: &Yaml<'_>| match to_json(key) {
                Value::String(text) => text,
                other => other.to_string(),
            };
            Value::Object(all.iter().map(|(k, v)| (key(k), to_json(v))).collect())
        }
        _ => Value::Null,
    }
}
