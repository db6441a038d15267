//! Everything wrong is said at once; nothing secret is said at all.

use mesh_runtime::process::{self, Common, MeshTls};
use mesh_runtime::settings::{ConfigErrors, Settings};

#[test]
fn every_bad_value_is_reported_at_once() {
    let mut settings = Settings::of(
        "order-master",
        [
            ("TIFFIN_MESH_LISTEN", "nowhere"),
            ("TIFFIN_CLOCK_RATE", "0.5"),
            ("TIFFIN_CONSISTENCY_SECRET", "hunter2"),
            ("TIFFIN_LOG", "=,="),
        ],
    );
    Common::from_settings(&mut settings);
    process::signer(&mut settings);

    let ConfigErrors(errors) = settings.finish().unwrap_err();
    let names: Vec<_> = errors.iter().map(|error| error.name).collect();
    assert_eq!(
        names,
        [
            "TIFFIN_MESH_LISTEN",
            "TIFFIN_ADMIN_LISTEN",
            "TIFFIN_TLS_DIR",
            "TIFFIN_CLOCK_RATE",
            "TIFFIN_LOG",
            "TIFFIN_CONSISTENCY_SECRET",
        ]
    );
    let text = ConfigErrors(errors).to_string();
    assert!(text.contains("TIFFIN_ADMIN_LISTEN: is required"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn good_settings_are_used_and_the_rest_has_its_default() {
    let mut settings = Settings::of(
        "order-master",
        [
            ("TIFFIN_MESH_LISTEN", "127.0.0.1:1"),
            ("TIFFIN_ADMIN_LISTEN", "127.0.0.1:2"),
            ("TIFFIN_TLS_DIR", "/tls"),
            ("TIFFIN_REGION", ""),
            ("TIFFIN_CLOCK_RATE", "20"),
        ],
    );
    let common = Common::from_settings(&mut settings);

    settings.finish().unwrap();
    assert_eq!(common.mesh_listen.port(), 1);
    assert_eq!(common.region, "local", "empty counts as unset");
    assert!((common.clock.rate() - 20.0).abs() < f64::EPSILON);
}

#[test]
fn behind_a_sidecar_no_certificates_are_needed_and_nobody_else_gets_in() {
    let common = |listen, tls| {
        let given = [
            ("TIFFIN_MESH_LISTEN", listen),
            ("TIFFIN_ADMIN_LISTEN", "0.0.0.0:2"),
            ("TIFFIN_TLS", tls),
            ("TIFFIN_CLOCK_RATE", "0.5"),
        ];
        let mut settings = Settings::of("order-master", given);
        let tls = Common::from_settings(&mut settings).tls;
        let ConfigErrors(errors) = settings.finish().unwrap_err();
        let names: Vec<_> = errors.iter().map(|error| error.name).collect();
        (tls, names)
    };
    for loopback in ["127.0.0.1:1", "[::1]:1"] {
        assert_eq!(
            common(loopback, "sidecar"),
            (MeshTls::Sidecar, vec!["TIFFIN_CLOCK_RATE"])
        );
    }
    for reachable in ["0.0.0.0:1", "[::]:1", "10.1.2.3:1"] {
        let (_, names) = common(reachable, "sidecar");
        assert_eq!(names, ["TIFFIN_MESH_LISTEN", "TIFFIN_CLOCK_RATE"], "{reachable}");
    }
    let (_, names) = common("0.0.0.0:1", "off");
    assert_eq!(names, ["TIFFIN_TLS", "TIFFIN_TLS_DIR", "TIFFIN_CLOCK_RATE"]);
}

#[test]
fn help_shows_every_default_and_reason_and_no_value() {
    let mut settings = Settings::of("order-master", [("TIFFIN_CONSISTENCY_SECRET", "0123456789abcdef0123")]);
    Common::from_settings(&mut settings);
    process::signer(&mut settings);

    let help = settings.help();
    assert!(help.contains("TIFFIN_REGION (default: local)"), "{help}");
    assert!(
        help.contains("TIFFIN_MESH_LISTEN (required, such as 127.0.0.1:4000)"),
        "{help}"
    );
    assert!(help.contains("part of every bus subject"), "{help}");
    assert!(!help.contains("0123456789abcdef0123"), "{help}");
}

#[test]
fn a_secret_does_not_show_in_debug_output() {
    let mut settings = Settings::of("order-master", [("TIFFIN_NATS_PASSWORD", "hunter2")]);
    let secret = settings.secret("TIFFIN_NATS_PASSWORD", "to log in at the bus");
    assert_eq!(secret.expose(), "hunter2");
    assert!(!format!("{secret:?}").contains("hunter2"));
    assert!(!format!("{settings:?}").contains("hunter2"));
}
