//! What each command does.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use attar_trainer::comparison::{Comparison, execute};
use attar_trainer::config::{
    EvaluateConfig, HeadConfig, LayerChoice, PoolerStart, RunConfig, SetConfig, StageConfig, StudentConfig,
    TeacherConfig, TeacherKind, ValidationConfig,
};
use attar_trainer::data::{Columns, ReadOptions, RowFilter, head_labels, read};
use attar_trainer::fetch::{self as fetching, FetchOptions, Kind, PRESETS, Request};
use attar_trainer::label::{AgainstGold, LabelStore, ShardSet, Teacher};
use attar_trainer::pairs::{Cut, PairSource, PairsConfig, RewordConfig, SourceKind, build_from, write_pairs};
use attar_trainer::progress::{Reporter, Stop};
use attar_trainer::report::Report;
use attar_trainer::run::{FileScores, RunOptions, score_file};
use attar_trainer::scheme::Scheme;
use attar_trainer::settings::TrainSettings;
use attar_trainer::{Error, ErrorKind, parts as cut, run as runs};

use super::arguments::{
    Common, CompareArguments, CutArgument, DistillArguments, EvaluateArguments, FetchArguments, KindArgument,
    LabelArguments, MeanArguments, PairsArguments, PartsArguments, PartsCommand, PoolerArgument, ReportArguments,
    RunArguments, TeacherArguments, Training,
};

type Done = anyhow::Result<()>;

const DEFAULT_SEED: u64 = 17;

pub fn run(a: &RunArguments, common: &Common, options: impl Fn(PathBuf) -> RunOptions) -> Done {
    let mut config = RunConfig::read(&a.file)?;
    if let Some(seed) = common.seed {
        config.seed = seed;
    }
    if let Some(data) = &a.data {
        config.data.clone_from(data);
    }
    if let Some(encoders) = &a.encoders {
        config.encoders.clone_from(encoders);
    }
    let output = match a.output.to_str() {
        Some("artifacts/runs/NAME") => Path::new("artifacts/runs").join(&config.name),
        _ => a.output.clone(),
    };
    let options = RunOptions { shared: a.shared.clone(), ..options(output) };
    if let Some(names) = &a.teachers {
        return Ok(runs::prepare(&config.of_teachers(names)?, &options)?);
    }
    print_scores(&runs::run(&config, &options)?, a.json)
}

pub fn compare(a: &CompareArguments, common: &Common, options: impl Fn(PathBuf) -> RunOptions) -> Done {
    if common.seed.is_some() {
        return Err(Error::new(ErrorKind::Config, "--seed: a comparison states the seeds of its runs itself").into());
    }
    let mut comparison = Comparison::read(&a.file)?;
    if let Some(data) = &a.data {
        comparison.data.clone_from(data);
    }
    if let Some(encoders) = &a.encoders {
        comparison.encoders.clone_from(encoders);
    }
    let output = match a.output.to_str() {
        Some("artifacts/comparisons/NAME") => Path::new("artifacts/comparisons").join(&comparison.name),
        _ => a.output.clone(),
    };
    let options = RunOptions { shared: a.shared.clone(), ..options(output.clone()) };
    execute(&comparison, &options, a.only.as_deref())?;
    report(&ReportArguments { runs: vec![output], output: None })
}

pub fn distill(a: &DistillArguments, common: &Common, options: impl Fn(PathBuf) -> RunOptions) -> Done {
    let device = attar_nn::choose_device(&common.device)?;
    let mut teachers = Vec::new();
    let mut heads_of: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (folder, kind) in (a.teachers.iter().map(|f| (f, TeacherKind::Classifier)))
        .chain(a.sentence_encoders.iter().map(|f| (f, TeacherKind::SentenceEncoder)))
    {
        let name = format!("{}-{}", teachers.len(), name_of(folder));
        let heads = match kind {
            TeacherKind::SentenceEncoder => vec!["relevance".to_owned()],
            TeacherKind::Classifier => {
                attar_nn::Student::load(folder, &device)?.heads().map(|h| h.name.clone()).collect()
            }
        };
        heads_of.insert(name.clone(), heads);
        teachers.push(teacher_config(name, kind, folder, a.training.max_len));
    }
    let labellers = |head: &str| -> Vec<String> {
        heads_of.iter().filter(|(_, heads)| heads.iter().any(|h| h == head)).map(|(name, _)| name.clone()).collect()
    };
    let mut config = config_of(&a.encoder, &a.training, common);
    config.scheme = a.scheme.unwrap_or(match (teachers.is_empty(), &a.stage1) {
        (true, _) => Scheme::FineTune,
        (false, None) => Scheme::ManyOnOne,
        (false, Some(_)) => Scheme::Tmkd,
    });
    config.student.layers = a.layers.map(LayerChoice::First);
    config.stage2.training.soft_label_weight = a.soft_label_weight;
    for set in &mut config.stage2.sets {
        set.teachers = labellers(&set.head);
    }
    if let Some(path) = &a.stage1 {
        let mut set = set_config("relevance", path);
        set.teachers = labellers("relevance");
        let training = TrainSettings { epochs: 1, patience: 0, ..config.stage2.training.clone() };
        config.stage1 = Some(StageConfig { sets: vec![set], teachers: Vec::new(), training, matching: None });
        if !config.student.heads.iter().any(|h| h.name == "relevance") {
            config.student.heads.push(HeadConfig::named("relevance"));
        }
    }
    config.teachers = teachers;
    config.check()?;
    print_scores(&runs::run(&config, &options(a.training.output.clone()))?, a.training.json)
}

/// Prints every check, and fails when one did not pass.
pub fn selftest(common: &Common) -> Done {
    let device = attar_nn::choose_device(&common.device)?;
    let outcomes = attar_nn::selftest::run(&device)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{:<52} {:>10} {:>10}", format!("device {}", common.device), "error", "at most")?;
    for outcome in &outcomes {
        let mark = if outcome.passed() { "" } else { "  FAILED" };
        writeln!(out, "{:<52} {:>10.1e} {:>10.1e}{mark}", outcome.name, outcome.error, outcome.tolerance)?;
    }
    let failed = outcomes.iter().filter(|o| !o.passed()).count();
    anyhow::ensure!(failed == 0, "{failed} of {} checks failed on {}", outcomes.len(), common.device);
    writeln!(out, "{} checks passed", outcomes.len())?;
    Ok(())
}

pub fn teacher(a: &TeacherArguments, common: &Common, options: impl Fn(PathBuf) -> RunOptions) -> Done {
    let config = config_of(&a.encoder, &a.training, common);
    config.check()?;
    print_scores(&runs::run(&config, &options(a.training.output.clone()))?, a.training.json)
}

pub fn pairs(a: &PairsArguments, common: &Common, stop: &Stop) -> Done {
    let cut = match a.cut {
        CutArgument::Whole => Cut::Whole,
        CutArgument::Sentences => Cut::Sentences,
        CutArgument::Chunks => Cut::Chunks,
    };
    let columns = a.columns.clone().map(Columns::Listed);
    let source =
        |path: &PathBuf, kind| PairSource { path: path.clone(), kind, cut, columns: columns.clone(), limit: None };
    let sources: Vec<PairSource> = (a.squad.iter().map(|p| source(p, SourceKind::Squad)))
        .chain(a.pairs.iter().map(|p| source(p, SourceKind::Pairs)))
        .collect();
    if sources.is_empty() {
        return Err(Error::new(ErrorKind::Config, "no sources; give --squad FILE or --pairs FILE").into());
    }
    let config = PairsConfig {
        name: name_of(&a.output),
        sources,
        given: a.given,
        bm25: a.bm25,
        random: a.random,
        limit: a.limit,
        reword: a.reword.as_ref().map(|encoder| RewordConfig {
            encoder: encoder.clone(),
            copies: a.copies,
            share: a.share,
            neighbours: a.neighbours,
        }),
        overlap: a.overlap,
        exclude: a.exclude.clone(),
    };
    let mut progress = None;
    let seed = common.seed.unwrap_or(DEFAULT_SEED);
    let built = build_from(&config, seed, Path::to_owned, Path::to_owned, |done, all| {
        progress
            .get_or_insert_with(|| Reporter::new(common.quiet).begin("pairs", "questions", all as u64, 0))
            .update(done as u64, String::new);
        stop.check()
    })?;
    write_pairs(&a.output, &built)?;
    if let Some(progress) = progress {
        progress.finish();
    }
    Reporter::new(common.quiet).say(format!("{} pairs in {}", built.len(), a.output.display()));
    Ok(())
}

pub fn label(a: &LabelArguments, common: &Common, stop: &Stop) -> Done {
    let device = attar_nn::choose_device(&common.device)?;
    let kind = match a.kind {
        KindArgument::SentenceEncoder => TeacherKind::SentenceEncoder,
        KindArgument::Classifier => TeacherKind::Classifier,
    };
    let name = a.name.clone().unwrap_or_else(|| name_of(&a.teacher));
    let teacher = Teacher::load(&name, kind, &a.teacher, a.max_len, &device, common.precision.into())?;
    let columns = a.columns.clone().map(Columns::Listed);
    let rows = read(&a.data, ReadOptions { columns: columns.as_ref(), ..ReadOptions::default() })?.rows;
    let labels = match kind {
        TeacherKind::Classifier => attar_nn::Student::load(&a.teacher, &device)?.head(&a.head)?.labels.clone(),
        TeacherKind::SentenceEncoder => {
            head_labels(&a.head).unwrap_or_default().iter().map(|&l| l.to_owned()).collect()
        }
    };
    let key = teacher.key(&a.head, &labels, &rows)?;
    let store = LabelStore::open(&a.output, key)?;
    let count = store.shards().len();
    let shards = match (&a.shards, a.worker) {
        (Some(shards), _) => shards.clone(),
        (None, Some((worker, workers))) => ShardSet::of_worker(worker, workers, count),
        (None, None) => ShardSet::all(count),
    };
    if let Some(last) = shards.last().filter(|&last| last >= count) {
        return Err(Error::new(
            ErrorKind::Config,
            format!(
                "--shards {shards}: {last} is beyond the last shard, {}; {} has {} rows",
                count - 1,
                a.data.display(),
                rows.len()
            ),
        )
        .into());
    }
    let work =
        store.shards().iter().enumerate().filter(|(n, _)| shards.contains(*n)).map(|(_, r)| r.len() as u64).sum();
    let mut progress = Reporter::new(common.quiet).begin("label", "rows", work, 0);
    teacher.label(&store, &rows, &shards, &mut progress, stop)?;
    progress.finish();
    let missing = store.missing();
    if missing.is_empty() {
        store.read()?;
    }
    if let Some(part_size) = a.part_size {
        let mut parts = a.output.clone().into_os_string();
        parts.push(".parts");
        split_parts(&a.output, Path::new(&parts), part_size, common)?;
    }
    if a.json {
        let mut json = serde_json::to_value(store.key())?;
        json["shards"] = count.into();
        json["missing"] = missing.iter().collect::<Vec<_>>().into();
        serde_json::to_writer_pretty(std::io::stdout(), &json)?;
        writeln!(std::io::stdout())?;
    } else if missing.is_empty() {
        Reporter::new(common.quiet).say(format!("{} rows in {}", rows.len(), a.output.display()));
    } else {
        let done = count - missing.len();
        Reporter::new(common.quiet)
            .say(format!("{done} of {count} shards in {}; missing: {missing}", a.output.display()));
    }
    Ok(())
}

pub fn fetch(a: &FetchArguments, common: &Common) -> Done {
    let mut out = std::io::stdout().lock();
    if a.list {
        for preset in PRESETS {
            let place = if preset.kind == Kind::Data { "data" } else { "encoder" };
            let folder = if preset.folder.is_empty() { String::new() } else { format!("/{}", preset.folder) };
            writeln!(out, "{}\t{place}\t{}{folder}\t{}", preset.name, preset.repository, preset.about)?;
        }
        return Ok(());
    }
    let requests = a.names.iter().map(|name| name.parse()).collect::<Result<Vec<Request>, Error>>()?;
    let options = FetchOptions {
        endpoint: a.endpoint.clone(),
        token: std::env::var("HF_TOKEN").ok().filter(|token| !token.is_empty()),
        encoders: a.encoders.clone(),
        data: a.data.clone(),
        update: a.update,
        reporter: Reporter::new(common.quiet),
    };
    let fetched = requests.iter().map(|r| fetching::fetch(r, &options)).collect::<Result<Vec<_>, Error>>()?;
    if a.json {
        serde_json::to_writer_pretty(&mut out, &fetched)?;
        writeln!(out)?;
    }
    Ok(())
}

pub fn parts(a: &PartsArguments, common: &Common) -> Done {
    match &a.command {
        PartsCommand::Split { path, part_size, output } => split_parts(path, output, *part_size, common),
        PartsCommand::Join { manifest, output } => {
            let joined = cut::join(manifest, output)?;
            let count = joined.files.len();
            Reporter::new(common.quiet).say(format!("{count} files in {}, checksums right", output.display()));
            Ok(())
        }
    }
}

fn split_parts(path: &Path, output: &Path, part_size: u64, common: &Common) -> Done {
    let (manifest, written) = cut::split(path, output, part_size)?;
    Reporter::new(common.quiet).say(format!(
        "{} parts of {} files; {}",
        written.parts.len(),
        written.files.len(),
        manifest.display()
    ));
    Ok(())
}

pub fn mean(a: &MeanArguments, common: &Common) -> Done {
    let students: Vec<&Path> = a.students.iter().map(PathBuf::as_path).collect();
    attar_trainer::mean::write_mean(&students, &a.output)?;
    Reporter::new(common.quiet).say(format!("{}: the mean of {} students", a.output.display(), students.len()));
    Ok(())
}

pub fn evaluate(a: &EvaluateArguments, common: &Common, stop: &Stop) -> Done {
    let device = attar_nn::choose_device(&common.device)?;
    let reporter = Reporter::new(common.quiet);
    let none = BTreeMap::new();
    let mut scores = Vec::new();
    for (head, path) in &a.files {
        scores.push(score_file(
            &a.model,
            head,
            path,
            a.max_len,
            common.precision.into(),
            &none,
            &device,
            reporter,
            stop,
        )?);
    }
    print_scores(&scores, a.json)
}

pub fn report(a: &ReportArguments) -> Done {
    let report = Report::of(&a.runs)?;
    match (&a.output, a.runs.as_slice()) {
        (Some(output), _) => report.write(output)?,
        (None, [folder]) => report.write(folder)?,
        (None, _) => {}
    }
    write!(std::io::stdout(), "{}", report.markdown)?;
    Ok(())
}

fn print_scores(scores: &[FileScores], json: bool) -> Done {
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, scores)?;
        writeln!(out)?;
        return Ok(());
    }
    for file in scores {
        let system = if file.system == "student" { String::new() } else { format!(" {}", file.system) };
        write!(out, "{}\t{}{system}\taccuracy {:.2} %", file.name, file.head, 100.0 * file.scores.accuracy)?;
        write!(out, "\tnll {:.4}\tece {:.4}", file.scores.nll, file.scores.ece)?;
        if let Some(ranking) = &file.ranking {
            write!(out, "\tMAP {:.3}\tMRR {:.3}", ranking.map, ranking.mrr)?;
        }
        writeln!(out, "\t{} rows", file.scores.rows)?;
    }
    Ok(())
}

impl From<PoolerArgument> for PoolerStart {
    fn from(argument: PoolerArgument) -> Self {
        match argument {
            PoolerArgument::Encoder => Self::Encoder,
            PoolerArgument::Identity => Self::Identity,
        }
    }
}

/// A run without teachers out of options.
fn config_of(encoder: &Path, training: &Training, common: &Common) -> RunConfig {
    let mut heads: Vec<HeadConfig> = Vec::new();
    for (head, _) in &training.train {
        if !heads.iter().any(|h| h.name == *head) {
            heads.push(HeadConfig { layers: training.head_layers, ..HeadConfig::named(head) });
        }
    }
    let sets = training.train.iter().map(|(head, path)| SetConfig { limit: training.limit, ..set_config(head, path) });
    let settings = TrainSettings {
        epochs: training.epochs,
        max_steps: training.max_steps,
        batch_size: training.batch_size,
        learning_rate: training.learning_rate,
        patience: training.patience,
        ..TrainSettings::default()
    };
    RunConfig {
        name: name_of(&training.output),
        seed: common.seed.unwrap_or(DEFAULT_SEED),
        data_seed: None,
        data: PathBuf::new(),
        encoders: PathBuf::new(),
        scheme: Scheme::FineTune,
        student: StudentConfig {
            encoder: encoder.to_owned(),
            layers: None,
            fresh: None,
            go_on: false,
            pooler: training.pooler.into(),
            max_len: training.max_len,
            heads,
        },
        validation: ValidationConfig::default(),
        pairs: Vec::new(),
        teachers: Vec::new(),
        stage1: None,
        stage2: StageConfig { sets: sets.collect(), teachers: Vec::new(), training: settings, matching: None },
        evaluate: training.dev.iter().map(|(head, path)| evaluate_config(head, path)).collect(),
        evaluate_teachers: false,
        provenance: Default::default(),
    }
}

fn set_config(head: &str, path: &Path) -> SetConfig {
    SetConfig {
        head: head.to_owned(),
        path: Some(path.to_owned()),
        pairs: None,
        limit: None,
        filter: RowFilter::new(),
        labels: BTreeMap::new(),
        columns: None,
        gold: true,
        teachers: Vec::new(),
    }
}

fn evaluate_config(head: &str, path: &Path) -> EvaluateConfig {
    EvaluateConfig {
        name: name_of(path),
        head: head.to_owned(),
        path: path.to_owned(),
        limit: None,
        filter: RowFilter::new(),
        labels: BTreeMap::new(),
        columns: None,
    }
}

fn teacher_config(name: String, kind: TeacherKind, folder: &Path, max_len: usize) -> TeacherConfig {
    TeacherConfig {
        name,
        kind,
        encoder: folder.to_owned(),
        labels: None,
        against_gold: AgainstGold::Keep,
        max_len,
        precision: None,
        calibration: Default::default(),
        fit: None,
        sets: Vec::new(),
        fine_tune: false,
        pooler: PoolerStart::Encoder,
        head_layers: None,
        seed: None,
        training: TrainSettings::default(),
    }
}

fn name_of(path: &Path) -> String {
    path.file_stem().map_or_else(|| "run".to_owned(), |name| name.to_string_lossy().into_owned())
}
