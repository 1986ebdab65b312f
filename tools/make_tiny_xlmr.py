#!/usr/bin/env python3
"""Writes test/data/xlmr: a random XLM-R of two layers and, by transformers, the states of seven tokens.

usage: make_tiny_xlmr.py OUT        needs torch and transformers
"""
import os
import sys

import numpy as np
import torch
from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM

IDS = [[0, 17, 44, 3, 200, 9, 2]]

out = sys.argv[1]
os.makedirs(out, exist_ok=True)
torch.manual_seed(0)
config = XLMRobertaConfig(vocab_size=320, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
                          max_position_embeddings=66, type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5)
model = XLMRobertaForMaskedLM(config).eval()
for p in model.parameters():
    torch.nn.init.normal_(p, 0, 0.3)
model.save_pretrained(out)
ids = torch.tensor(IDS)
with torch.no_grad():
    hidden = model.roberta(ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
np.save(f"{out}/hidden.npy", hidden.numpy())
