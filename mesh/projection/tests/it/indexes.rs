use mesh_projection::ListError;

use crate::notebook::{Notebooks, closed, given, id, noted};
use crate::world::World;

#[tokio::test]
async fn a_document_is_on_the_lists_of_its_newest_placement_only() {
    let world = World::new().await;
    world.happen(&[given(1, 1, "ann")]).await;
    world.reaches(1, 1).await;
    assert_eq!(world.holders("ann").await, [id(1)]);
    world.happen(&[given(1, 2, "bob")]).await;
    world.reaches(1, 2).await;
    assert!(world.holders("ann").await.is_empty());
    assert_eq!(world.holders("bob").await, [id(1)]);
}

#[tokio::test]
async fn a_list_is_read_page_by_page_from_the_highest_score_down() {
    let world = World::new().await;
    let events: Vec<_> = (0..7).map(|number| given(number, 1, "ann")).collect();
    world.happen(&events).await;
    world.reaches(6, 1).await;
    let mut found = Vec::new();
    let mut cursor = None;
    loop {
        let page = world
            .projection
            .list::<Notebooks>("holder", "ann", cursor.as_deref(), 2)
            .await
            .unwrap();
        assert!(page.items.len() <= 2);
        found.extend(page.items.into_iter().map(|read| read.id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    // Pairs share a score, and pages end inside of pairs.
    assert_eq!(found, (0..7).rev().map(id).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_score_moves_with_the_document() {
    let world = World::new().await;
    world
        .happen(&[given(1, 1, "ann"), given(2, 1, "ann"), noted(1, 2)])
        .await;
    world.reaches(1, 2).await;
    world.reaches(2, 1).await;
    let longest = async || {
        let page = world
            .projection
            .list::<Notebooks>("length", "all", None, 1)
            .await
            .unwrap();
        page.items[0].id.clone()
    };
    assert_eq!(longest().await, id(1));
    world.happen(&[noted(2, 2), noted(2, 3)]).await;
    world.reaches(2, 3).await;
    assert_eq!(longest().await, id(2));
}

#[tokio::test]
async fn a_cursor_of_somebody_else_is_refused() {
    let world = World::new().await;
    for cursor in ["", "?", "bm9uZSBvZiBvdXJz"] {
        let answer = world
            .projection
            .list::<Notebooks>("holder", "ann", Some(cursor), 2)
            .await;
        assert!(matches!(answer, Err(ListError::BadCursor)), "{cursor}");
    }
}

#[tokio::test]
async fn an_index_keeps_what_a_topic_gives_up() {
    let world = World::new().await;
    world.happen(&[given(1, 1, "ann"), closed(1, 2)]).await;
    world.reaches(1, 2).await;
    assert_eq!(world.holders("ann").await, [id(1)]);
}
