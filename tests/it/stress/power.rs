//! Power cuts, and a disk that is really full.

use std::process::Command;

use super::Place;
use super::traffic::{Ask, Traffic, get};

#[tokio::test]
async fn what_was_answered_with_a_2xx_survives_a_power_cut() {
    let place = Place::new().await;
    let mut server = place.serve();
    // By the server itself: what another process syncs, the shim of the server would take for lost.
    let launch = reqwest::Client::new().post(place.url("/api/v1/campaigns/1/launch")).bearer_auth(&place.key);
    assert_eq!(launch.send().await.unwrap().status(), 202);
    let traffic = Traffic::start(&place);
    for cut in 0..3 {
        traffic.until_more(&format!("cut {cut}"), &Ask::WRITES, 10 + cut, Traffic::taken).await;
        server.kill();
        place.cut_power();
        traffic.check(&place.look());
        server = place.serve();
    }
    traffic.until_more("goes on", &Ask::WRITES, 3, Traffic::taken).await;
    server.kill();
    place.cut_power();
    println!("{}", traffic.end_and_check(&place.look()).await);
    place.check_whole();
}

/// A file system of its own, as small as it says; gone when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Result<SmallDisk, String> {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let size = format!("size={size}");
        let told = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(dir.path()).output();
        match told {
            Ok(told) if told.status.success() => Ok(SmallDisk(dir)),
            Ok(told) => Err(String::from_utf8_lossy(&told.stderr).into_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_disk_that_is_really_full_is_got_over_once_there_is_room() {
    let disk = match SmallDisk::mount("12m") {
        Ok(disk) => disk,
        Err(why) => {
            println!("no file system may be mounted here, so a really full disk is not shown: {why}");
            return;
        }
    };
    let place = Place::at(disk.0.path()).await;
    let server = place.serve();
    place.launch();
    let traffic = Traffic::start(&place);
    traffic.until_more("a calm beginning", &Ask::WRITES, 3, Traffic::taken).await;
    let ballast = place.path("ballast");
    // Twice: a disk that fills up again must be got over again.
    for _ in 0..2 {
        let of = format!("of={}", ballast.display());
        let filled = Command::new("dd").args(["if=/dev/zero", "bs=4k", &of]).output().unwrap();
        assert!(!filled.status.success(), "the disk was not filled");
        traffic.until_more("writes refused", &Ask::WRITES, 3, Traffic::refused).await;
        traffic.until_more("reads go on", &[Ask::Read], 8, Traffic::taken).await;
        assert_eq!(traffic.refused(Ask::Read), 0);
        assert_eq!(get(&place, "/readyz").await, 503);
        std::fs::remove_file(&ballast).unwrap();
        traffic.until_more("goes on", &Ask::WRITES, 3, Traffic::taken).await;
        traffic.check(&place.look());
    }
    server.kill();
    println!("{}", traffic.end_and_check(&place.look()).await);
    place.check_whole();
    drop(place);
}
