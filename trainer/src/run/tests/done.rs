//! What is done before is not done again, and not twice at a time.

use super::*;

/// The folders of soft labels below a shared folder, in order.
fn label_folders(shared: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(shared.join("labels")).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_finished_step_is_not_done_again_unless_its_inputs_change() {
    let world = World::new();
    world.run("fine-tune", "", false).unwrap();
    let weights = world.folder.path().join("fine-tune/student/model.safetensors");
    let written = || std::fs::metadata(&weights).unwrap().modified().unwrap();
    let first = written();
    world.run("fine-tune", "", false).unwrap();
    assert_eq!(written(), first);
    write_rows(&world.folder.path().join("train.tsv"), 48);
    world.run("fine-tune", "", false).unwrap();
    assert_ne!(written(), first);
}

#[test]
fn another_head_or_other_validation_rows_are_another_training() {
    let world = World::new();
    let heads = "heads = [{ name = \"relevance\" }, { name = \"second\", labels = [\"not_relevant\", \"relevant\"] }]";
    let config = |head: &str, seed: u64, max_rows: usize| {
        let (config, options) = world.settings("fine-tune", "", false);
        let text = toml::to_string(&config).unwrap();
        let mut changed = RunConfig::parse(&text).unwrap();
        let table: toml::Table = heads.parse().unwrap();
        changed.student.heads = table["heads"].clone().try_into().unwrap();
        changed.stage2.sets[0].head = head.into();
        changed.stage2.sets[0].labels = [("1".into(), "relevant".into()), ("0".into(), "not_relevant".into())].into();
        changed.evaluate.clear();
        (changed.data_seed, changed.validation.max_rows) = (Some(seed), max_rows);
        (changed.data, changed.encoders) = (config.data, config.encoders);
        (changed, options)
    };
    let weights = world.folder.path().join("fine-tune/student/model.safetensors");
    let mut written = Vec::new();
    for (head, seed, max_rows) in [("relevance", 1, 4), ("relevance", 1, 4), ("second", 1, 4), ("second", 2, 4)] {
        let (config, options) = config(head, seed, max_rows);
        run(&config, &options).unwrap();
        written.push(std::fs::metadata(&weights).unwrap().modified().unwrap());
    }
    assert_eq!(written[0], written[1]);
    assert!(written[1] != written[2] && written[2] != written[3]);
}

#[test]
fn provenance_that_changes_alone_is_brought_up_to_date() {
    let world = World::new();
    let of = |licence: &str| {
        let change = |config: &mut RunConfig, _: &mut RunOptions| {
            config.provenance.insert("licence".into(), licence.into());
        };
        world.run_with("fine-tune", "", false, change).unwrap();
        let folder = world.folder.path().join("fine-tune/student");
        let written = std::fs::metadata(folder.join("model.safetensors")).unwrap().modified().unwrap();
        (Student::provenance_of(&folder).unwrap(), written)
    };
    let (first, written) = of("L1");
    let (second, still) = of("L2");
    assert_eq!((first["licence"].as_str(), second["licence"].as_str()), (Some("L1"), Some("L2")));
    assert_eq!((written, &first["commit"]), (still, &second["commit"]));
}

#[test]
fn a_folder_that_another_process_writes_is_left_alone() {
    let world = World::new();
    let lock = world.folder.path().join("fine-tune/lock");
    let held = crate::files::try_lock(&lock).unwrap().unwrap();
    let error = world.run("fine-tune", "", false).unwrap_err();
    assert!(error.to_string().contains("another process works on this run"), "{error}");
    drop(held);
    world.run("fine-tune", "", false).unwrap();
}

#[test]
fn runs_side_by_side_on_one_folder_do_not_get_in_each_others_way() {
    let world = World::new();
    std::thread::scope(|threads| {
        let runs = ["one", "two", "three"].map(|name| {
            let (mut config, mut options) = world.settings("tmkd", BOTH, true);
            config.stage1.as_mut().unwrap().training.epochs = 2;
            options.output = world.folder.path().join(name);
            options.shared = Some(world.folder.path().join("shared"));
            options.checkpoint_every = Duration::ZERO;
            threads.spawn(move || run(&config, &options).map(drop))
        });
        for run in runs {
            run.join().unwrap().unwrap();
        }
    });
    let stages = std::fs::read_dir(world.folder.path().join("shared/models")).unwrap();
    assert_eq!(stages.count(), 1);
}

#[test]
fn pairs_that_no_set_takes_are_not_built() {
    let world = World::new();
    let pairs = |name: &str| {
        toml::from_str(&format!("name = \"{name}\"\nsources = [{{ path = \"train.tsv\", kind = \"pairs\" }}]\n"))
            .unwrap()
    };
    world
        .run_with("fine-tune", "", false, |config, _| {
            config.pairs = vec![pairs("taken"), pairs("left")];
            config.stage2.sets[0].path = None;
            config.stage2.sets[0].pairs = Some("taken".into());
        })
        .unwrap();
    let built = |name: &str| world.folder.path().join("fine-tune/pairs").join(name).exists();
    assert!(built("taken.tsv") && !built("left.tsv"));
}

#[test]
fn reworded_pairs_are_made_again_when_their_encoder_changes() {
    let world = World::new();
    let source = "{ path = \"train.tsv\", kind = \"pairs\" }";
    let reword = "bm25 = 0\nrandom = 0\nreword = { encoder = \"words\", copies = 2, neighbours = 1 }";
    let pairs = format!("name = \"reworded\"\nsources = [{source}]\n{reword}\n");
    let with_pairs = |config: &mut RunConfig| {
        config.pairs = vec![toml::from_str(&pairs).unwrap()];
        config.stage2.sets[0].path = None;
        config.stage2.sets[0].pairs = Some("reworded".into());
    };
    let (mut config, options) = world.settings("m-o-1", BOTH, false);
    with_pairs(&mut config);
    let missing = run(&config, &options).unwrap_err();
    assert!(missing.to_string().contains("reword.encoder of pairs \"reworded\""), "{missing}");

    write_encoder(&world.folder.path().join("words"), 5, &[]);
    assert!(!run_once(&config, &options).unwrap().1);
    let file = options.output.join("pairs/reworded.tsv");
    let first = std::fs::read_to_string(&file).unwrap();
    assert!(first.lines().any(|line| line.ends_with("\treworded")), "{first}");
    assert!(run_once(&config, &options).unwrap().1, "nothing changed");
    write_encoder(&world.folder.path().join("words"), 6, &[]);
    assert!(!run_once(&config, &options).unwrap().1);
    assert_ne!(std::fs::read_to_string(&file).unwrap(), first);

    config.pairs[0].reword.as_mut().unwrap().share = 2.0;
    let wrong = run(&config, &options).unwrap_err();
    assert!(wrong.to_string().contains("share = 2"), "{wrong}");
    let wrong = config.check().unwrap_err();
    assert!(wrong.to_string().contains("pairs \"reworded\": reword: share = 2"), "{wrong}");
}

#[test]
fn teachers_prepared_apart_and_their_labels_alone_serve_a_run() {
    let world = World::new();
    let shared = world.folder.path().join("shared");
    let weights = |name: &str| {
        let path = world.folder.path().join(name).join("student/model.safetensors");
        std::fs::read(&path).unwrap()
    };
    let run = |output: &str, change: &dyn Fn(&mut RunConfig)| {
        world.run_with("m-o-1", BOTH, true, |config, options| {
            options.output = world.folder.path().join(output);
            options.shared = Some(shared.clone());
            change(config);
        })
    };
    for name in ["a", "b"] {
        let (config, options) = world.settings("m-o-1", BOTH, true);
        let options = RunOptions { shared: Some(shared.clone()), ..options };
        assert!(config.of_teachers(&["c".into()]).is_err());
        prepare(&config.of_teachers(&[name.into()]).unwrap(), &options).unwrap();
    }
    let folders = label_folders(&shared);
    assert_eq!(folders.len(), 2, "{folders:?}");
    run("with", &|_| {}).unwrap();
    assert_eq!(label_folders(&shared), folders, "nothing was labelled again");

    let hash = folders[0].strip_prefix("a-").unwrap();
    run("labels", &|config| {
        config.teachers[0].labels = Some(hash.to_owned());
        config.teachers[0].encoder = "nowhere".into();
    })
    .unwrap();
    assert_eq!(weights("labels"), weights("with"));

    let error = run("wrong", &|config| config.teachers[0].labels = Some("0123".into())).unwrap_err();
    assert!(error.to_string().contains("1 of 1 shards of its soft labels"), "{error}");
}
