//! The archive's disk is full while people talk: what is not durable is not acknowledged, and recording goes on when
//! there is room again.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::rig::{Rig, scenario};

/// A small file system of its own, unmounted when dropped.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where mounting is not permitted.
    pub fn mount(at: &Path, megabytes: u32) -> Option<SmallDisk> {
        let size = format!("size={megabytes}m");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output();
        done.is_ok_and(|output| output.status.success()).then(|| SmallDisk(at.to_owned()))
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Takes every free byte.
    pub fn fill(&self) {
        let mut file = File::create(self.ballast()).unwrap();
        let (chunk, mut size) = (vec![1; 1 << 16], 1 << 16);
        while size > 0 {
            if file.write_all(&chunk[..size]).is_err() {
                size /= 2;
            }
        }
    }

    pub fn make_room(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_acknowledged_and_recording_goes_on() {
    let at = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(at.path(), 48) else {
        println!("SKIPPED: this account may not mount a file system, so no disk could be filled");
        return;
    };
    let pool = "max_events = 20, forget_after_ms = 120000";
    let steps = "{ do = \"invite_meeting\", in = \"m\", by = \"ann\" },\n{ do = \"wait_for\", what = \"connected\", in = \"m\" },\n\
         { do = \"say\", in = \"m\", by = \"ann\", times = 2500, every_ms = 10, \
         text = \"Message {n}: long enough to need pages of its own before long, grâce à ses quelques mots de plus\" },\n\
         { do = \"wait_for\", what = \"acknowledged\", within_ms = 60000 },\n";
    let rig = Rig::with_archive(scenario(pool, steps), "", Some(&disk.0.join("archive"))).await;
    let mut recorder = rig.start();
    let acknowledged = || rig.pool.ledger().acknowledged().count();
    for killed in [false, true] {
        let before = acknowledged();
        let going = rig.pool.wait_ledger(Duration::from_secs(30), |l| l.acknowledged().count() > before + 100).await;
        assert!(going, "nothing is acknowledged:\n{}", recorder.log().text());
        disk.fill();
        let why = recorder.readyz(503, Duration::from_secs(20)).await;
        assert!(why.contains("archive"), "{why}");
        // Not a single message more, as long as nothing can be stored.
        let stuck = acknowledged();
        let more = rig.pool.wait_ledger(Duration::from_secs(2), |l| l.acknowledged().count() > stuck).await;
        assert!(!more, "{} messages were acknowledged on a full disk", acknowledged() - stuck);
        if killed {
            recorder.kill();
            disk.make_room();
            recorder = rig.start();
        } else {
            disk.make_room();
        }
        recorder.readyz(200, Duration::from_secs(30)).await;
    }
    rig.play().await;
    recorder.terminate().await;
    let (record, ledger) = rig.settle().await;
    println!("{} messages acknowledged over two full disks", ledger.acknowledged().count());
    assert_eq!(ledger.acknowledged().count(), 2500);
    assert_eq!(record.count("message.sent"), 2500);
}
