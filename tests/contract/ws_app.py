"""Flask-Sock and Flask-SocketIO, as their documentation has them. MODE is Flask-SocketIO's async_mode."""

from __future__ import annotations

import os

from flask import Flask
from flask_sock import Sock
from flask_socketio import SocketIO, disconnect

app = Flask(__name__)
sock = Sock(app)
socketio = SocketIO(app, async_mode=os.environ["MODE"])


@sock.route("/echo")
def echo(ws):
    while (text := ws.receive()) != "bye":
        ws.send(text)


@app.get("/")
def home():
    return "here"


@socketio.on("shout")
def shout(text):
    socketio.emit("heard", text.upper())
    return "shouted"


@socketio.on("leave")
def leave():
    disconnect()
