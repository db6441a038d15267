use std::fs;

use mesh_local::data_dir::DataDir;
use mesh_local::regions;
use mesh_local::running::Running;

#[tokio::test]
async fn a_second_platform_in_the_same_data_directory_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("data");
    let first = DataDir::open(&path, false).await.expect("the first is let in");
    let message = DataDir::open(&path, true)
        .await
        .expect_err("the second is not")
        .to_string();
    assert!(message.contains("another platform is running"), "{message}");
    drop(first);
    DataDir::open(&path, false).await.expect("the next one is");
}

#[tokio::test]
async fn a_folder_of_somebody_else_is_never_emptied() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let theirs = folder.path().join("thesis.txt");
    fs::write(&theirs, "years of work").expect("writable");
    let message = DataDir::open(folder.path(), true)
        .await
        .expect_err("it is not ours")
        .to_string();
    assert!(message.contains("not a data directory"), "{message}");
    assert!(theirs.exists());
}

#[tokio::test]
async fn fresh_empties_a_data_directory_and_what_it_links_to() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (path, elsewhere, theirs) = (
        folder.path().join("data"),
        folder.path().join("elsewhere"),
        folder.path().join("theirs"),
    );
    drop(DataDir::open(&elsewhere, false).await.expect("marked as ours"));
    fs::create_dir(&theirs).expect("writable");
    drop(DataDir::open(&path, false).await.expect("a new one"));
    fs::write(path.join("ports.json"), "{}").expect("writable");
    fs::create_dir(path.join("nats")).expect("writable");
    std::os::unix::fs::symlink(&elsewhere, path.join("postgres")).expect("writable");
    std::os::unix::fs::symlink(&theirs, path.join("link")).expect("writable");
    let _fresh = DataDir::open(&path, true).await.expect("it is ours");
    for gone in ["ports.json", "nats", "postgres", "link"] {
        assert!(path.join(gone).symlink_metadata().is_err(), "{gone} is still there");
    }
    assert!(!elsewhere.exists());
    assert!(theirs.exists());
}

#[tokio::test]
async fn fresh_empties_the_regions_in_a_data_directory_but_none_that_is_up() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (path, elsewhere) = (folder.path().join("data"), folder.path().join("elsewhere"));
    drop(DataDir::open(&elsewhere, false).await.expect("marked as ours"));
    drop(DataDir::open(&path, false).await.expect("a new one"));
    let region = path.join("regions/eu");
    let up = DataDir::open(&region, false).await.expect("a new one");
    std::os::unix::fs::symlink(&elsewhere, region.join("postgres")).expect("writable");
    let message = DataDir::open(&path, true).await.expect_err("eu is up").to_string();
    assert!(message.contains("another platform is running"), "{message}");
    assert!(elsewhere.exists());
    drop(up);
    let _fresh = DataDir::open(&path, true).await.expect("it is ours");
    assert!(!region.exists());
    assert!(!elsewhere.exists());
}

#[tokio::test]
async fn a_data_directory_of_regions_is_no_platform_and_names_those_that_are() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let _up = DataDir::open(folder.path(), false).await.expect("a new one");
    fs::write(folder.path().join("regions.json"), r#"["eu", "rs"]"#).expect("writable");
    let message = Running::find(folder.path()).expect_err("two are").to_string();
    assert!(
        message.contains("regions/eu") && message.contains("regions/rs"),
        "{message}"
    );
}

#[test]
fn a_region_is_called_what_a_subject_and_a_backend_can_be_called() {
    for good in ["eu", "us-east-1"] {
        assert_eq!(regions::parse_name(good).as_deref(), Ok(good));
    }
    for bad in ["", "EU", "e.u", "e u", "*", "eu/..", "a-name-that-never-ends"] {
        assert!(regions::parse_name(bad).is_err(), "{bad}");
    }
}
