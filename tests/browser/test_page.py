"""The page of `brainir view`, driven in Chromium as a person would: fold, search, click, ask why."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

import brainir

Chrome = webdriver.Chrome
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1400,900",
)  # fmt: skip


def _program(leak: float = 0.9) -> brainir.Program:
    def cell(params, hidden, x):  # type: ignore[no-untyped-def]
        with jax.named_scope("gate"), jax.named_scope("inner"):
            z = jax.nn.sigmoid(params["w_z"] @ x)
        with jax.named_scope("candidate"):
            c = jnp.tanh(params["w_c"] @ x + hidden["h"])
        h = leak * hidden["h"] * z + c
        return {"h": h}, params["w_out"] @ h

    weights = {"w_z": jnp.ones((4, 3)), "w_c": jnp.ones((4, 3)), "w_out": jnp.ones((2, 4))}
    return brainir.lower_step(cell, weights, {"h": jnp.zeros(4)}, jnp.ones(3))


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    options = Options()
    options.binary_location = os.environ["BRAINIR_CHROMIUM"]
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture
def page(chrome: Chrome, tmp_path: Path) -> Iterator[Chrome]:
    """Yield a browser that shows a program; nothing may have gone wrong in it in the end."""
    yield _open(chrome, tmp_path, _program())
    assert chrome.get_log("browser") == []


def _open(chrome: Chrome, folder: Path, program: brainir.Program, against: brainir.Program | None = None) -> Chrome:
    path = folder / "page.html"
    path.write_text(brainir.view.to_html(program, against=against))
    chrome.get(path.as_uri())
    assert chrome.find_element(By.TAG_NAME, "body").get_attribute("data-ready") == "true"
    return chrome


def titles(page: Chrome, selector: str) -> list[str]:
    """Return the titles of what a selector finds in the picture."""
    return [each.text for each in page.find_elements(By.CSS_SELECTOR, f"{selector} > text.title")]


def box(page: Chrome, key: str) -> WebElement:
    return page.find_element(By.CSS_SELECTOR, f"[data-key='{key}']")


def panel(page: Chrome) -> str:
    return page.find_element(By.ID, "panel").text


def click(page: Chrome, *, button: str = "", link: str = "") -> None:
    found = page.find_elements(By.CSS_SELECTOR, "header button" if button else "#panel button.link, #found button.link")
    next(each for each in found if each.text == (button or link)).click()


def test_page_opens_folded_and_asks_for_nothing_else(page: Chrome) -> None:
    assert sorted(titles(page, ".group.closed")) == ["▸ candidate", "▸ gate"]
    assert "hidden group" in panel(page).lower()
    assert page.execute_script("return performance.getEntriesByType('resource').length") == 0


def test_groups_unfold_by_a_click_and_fold_by_a_click_on_their_head(page: Chrome) -> None:
    before = set(titles(page, ".box"))
    gate = next(each for each in page.find_elements(By.CSS_SELECTOR, ".group.closed") if "gate" in each.text)
    gate.click()
    assert "▸ inner" in titles(page, ".group.closed")
    click(page, button="Unfold all")
    assert {"logistic", "tanh", "dot_general"} <= set(titles(page, ".box"))
    entry = _program().entry_function
    drawn = len(entry.inputs) + len(entry.nodes) + len(entry.outputs)
    assert len(page.find_elements(By.CSS_SELECTOR, ".box")) == drawn
    head = next(each for each in page.find_elements(By.CSS_SELECTOR, ".group .header") if each.text == "▾ gate")
    head.click()
    assert "▸ gate" in titles(page, ".group.closed")
    click(page, button="Fold all")
    assert set(titles(page, ".box")) == before


def test_search_finds_boxes_in_folded_groups_and_shows_them(page: Chrome) -> None:
    search = page.find_element(By.ID, "search")
    search.send_keys("tanh")
    assert page.find_element(By.CSS_SELECTOR, "#found .count").text == "1 found"
    search.send_keys(Keys.ENTER)
    assert titles(page, ".box.selected") == ["tanh"]
    assert "candidate" in panel(page)
    search.send_keys(Keys.ESCAPE)
    assert page.find_elements(By.CSS_SELECTOR, ".box.selected") == []


def test_a_click_shows_type_attributes_line_and_neighbours(page: Chrome) -> None:
    click(page, button="Unfold all")
    product = next(node for node in _program().entry_function.nodes if node.op == "dot_general")
    box(page, product.outputs[0]).click()
    shown = panel(page)
    assert "f32[4]" in shown
    assert "dimension_numbers" in shown
    assert "test_page.py:" in shown
    assert "w_z" in shown
    click(page, link="logistic")
    assert titles(page, ".box.selected") == ["logistic"]


def test_why_lights_the_way_from_a_weight_to_the_hidden_states(page: Chrome) -> None:
    box(page, "h").click()
    assert "hidden group" in panel(page).lower()
    box(page, "x").click()
    page.find_element(By.ID, "home").click()
    page.find_element(By.XPATH, "//section[h3='Weights that reach hidden states']//button[.='w_c']").click()
    way = {each.get_attribute("data-key") for each in page.find_elements(By.CSS_SELECTOR, ".box.onpath")}
    program = _program()
    entry = program.entry_function
    after, before = {"w_c"}, {entry.outputs[0]}
    for node in entry.nodes:
        if after.intersection(node.inputs):
            after.update(node.outputs)
    for node in reversed(entry.nodes):
        if before.intersection(node.outputs):
            before.update(node.inputs)
    assert way == (after & before) | {"=0"}
    assert "relation of w_c" in panel(page)


def test_moving_and_zooming_keep_the_picture(page: Chrome) -> None:
    scene = page.find_element(By.CSS_SELECTOR, "svg.scene")
    world = page.find_element(By.CSS_SELECTOR, "svg.scene > g")
    before = world.get_attribute("transform")
    ActionChains(page).move_to_element_with_offset(scene, 300, 300).click_and_hold().move_by_offset(
        60, 40
    ).release().perform()
    moved = world.get_attribute("transform")
    assert moved != before
    page.find_element(By.ID, "fit").click()
    assert len(page.find_elements(By.CSS_SELECTOR, ".box, .group.closed")) > 3


def test_functions_open_by_name_and_by_double_click(chrome: Chrome, tmp_path: Path) -> None:
    program = brainir.lower(lambda x: jax.lax.cond(x.sum() > 0, jnp.sin, jnp.cos, x), jnp.ones(3))
    page = _open(chrome, tmp_path, program)
    cond = next(each for each in page.find_elements(By.CSS_SELECTOR, ".box.calls") if "cond" in each.text)
    ActionChains(page).double_click(cond).perform()
    assert page.execute_script("return document.getElementById('function').value") != program.entry
    assert {"sin", "cos"} & set(titles(page, ".box"))
    assert chrome.get_log("browser") == []


def test_two_programs_stand_side_by_side_with_what_differs_in_colour(chrome: Chrome, tmp_path: Path) -> None:
    page = _open(chrome, tmp_path, _program(0.5), against=_program(0.9))
    assert len(page.find_elements(By.CSS_SELECTOR, "svg.scene")) == 2
    assert [each.text for each in page.find_elements(By.CSS_SELECTOR, ".pane-title")] == ["old", "new"]
    assert "1 difference" in panel(page).lower()
    changed = page.find_elements(By.CSS_SELECTOR, ".box.changed")
    assert [each.text.split()[0] for each in changed] == ["mul", "mul"]
    page.find_element(By.CSS_SELECTOR, ".changes button.link").click()
    assert titles(page, ".box.selected") == ["mul"]
    assert "0.5" in panel(page)
    assert chrome.get_log("browser") == []
